// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "sparsify/modifiers/gradual_pruning.hpp"

namespace sparsify {

/// Gradual magnitude pruning, every layer to the same sparsity. In SparseML's recipes also
/// `GMPruningModifier`.
class MagnitudePruning : public GradualPruning {
 public:
  static constexpr const char* kName = "MagnitudePruningModifier";
  using GradualPruning::GradualPruning;

 protected:
  std::vector<Parameters> competing_sets(const Parameters& parameters) const override {
    return one_set_each(parameters);
  }
};

}  // namespace sparsify
