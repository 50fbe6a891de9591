// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "sparsify/registry.hpp"

namespace sparsify {

/// Says how long training lasts when no other modifier does.
class EpochRange : public Modifier {
 public:
  static constexpr const char* kName = "EpochRangeModifier";
  struct Options {
    Window window{0, -1};
    template <class Visitor>
    void fields(Visitor& visit) {
      window.bounded_fields(visit);
    }
  };
  explicit EpochRange(const Options& options) : Modifier(options.window) { check(options.window, true); }

  void attach(Binding& binding) override { binding.schedule({"training", binding.plan(window()), {}}); }
};

}  // namespace sparsify
