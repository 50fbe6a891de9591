// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sparsify/parameters.hpp"
#include "sparsify/quantization/plan.hpp"

namespace sparsify {

/// What can be counted of one convolution's or linear layer's weight.
struct LayerFacts {
  std::string name;  ///< of the weight
  std::vector<std::int64_t> sizes;
  std::int64_t weights = 0, zeros = 0;
  bool two_four = false;    ///< 2:4 along input channels holds
  bool quantized = false;   ///< computes in 8 bits
  int bits = 8;             ///< of its weight then
  UnquantizedLayer left{};  ///< the rule that leaves it in floating point otherwise

  double sparsity() const {
    return weights > 0 ? static_cast<double>(zeros) / static_cast<double>(weights) : 0;
  }
};

struct ModelFacts {
  std::vector<LayerFacts> layers;                    ///< all Conv and Linear weights, in the model's order
  std::int64_t parameters = 0, parameter_zeros = 0;  ///< over all parameters

  double prunable_sparsity() const;
  double total_sparsity() const;
  std::int64_t quantized_layers() const;
};

/// Counts zeros; `plan` (null: the model is not quantized) says which layers are rounded.
ModelFacts measure(const Parameters& parameters, const QuantizationPlan* plan = nullptr);

/// "64x32x3x3".
std::string format_sizes(const std::vector<std::int64_t>& sizes);

}  // namespace sparsify
