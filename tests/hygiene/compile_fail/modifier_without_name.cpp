// SPDX-License-Identifier: Apache-2.0
#include <sparsify/registry.hpp>

struct Nothing : sparsify::Modifier {
  struct Options {
    template <class Visitor>
    void fields(Visitor&) {}
  };
  explicit Nothing(const Options&) : Modifier(sparsify::Window{}) {}
};

SPARSIFY_REGISTER_MODIFIER(Nothing);
