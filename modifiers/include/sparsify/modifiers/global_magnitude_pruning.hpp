// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "sparsify/modifiers/gradual_pruning.hpp"

namespace sparsify {

/// Gradual magnitude pruning with one threshold over all selected weights: layers end at different
/// sparsities.
class GlobalMagnitudePruning : public GradualPruning {
 public:
  static constexpr const char* kName = "GlobalMagnitudePruningModifier";
  using GradualPruning::GradualPruning;

 protected:
  const char* scope() const override { return "sparsity of all together"; }
  std::vector<Parameters> competing_sets(const Parameters& parameters) const override { return {parameters}; }
};

}  // namespace sparsify
