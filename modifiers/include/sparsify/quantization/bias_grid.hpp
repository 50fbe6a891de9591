// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/ops/tensor.h>

#include <cmath>
#include <vector>

#include "sparsify/quantization/quantizers.hpp"

// Integer engines round a layer's bias to 32-bit integers, input_scale * weight_scale apart. Evaluation moves
// biases there beforehand.

namespace sparsify {

/// A layer's own bias with every entry on that grid. `scales`: of the weight, one per output channel; as it
/// is when their numbers differ.
inline at::Tensor bias_on_grid(const at::Tensor& bias, double input_scale, const at::Tensor& scales) {
  auto values = detail::channel_values(bias);
  if (static_cast<std::int64_t>(values.size()) != scales.numel()) return bias;
  const auto* scale = scales.const_data_ptr<float>();
  for (std::size_t c = 0; c < values.size(); ++c) values[c] = round_bias(values[c], input_scale * scale[c]);
  return at::tensor(values, at::kDouble).to(bias.options().requires_grad(false));
}

/// The beta of the batch norm behind `layer` with which the folded bias lies on that grid. `beta`: as
/// trained; undefined: none.
inline at::Tensor beta_on_grid(const at::Tensor& beta, const WeightQuantizer& layer, double input_scale,
                               const at::Tensor& scales, const Parameters& parameters,
                               const Parameters& buffers) {
  const auto folded = fold(layer, scales.numel(), parameters, buffers);
  const auto* scale = scales.const_data_ptr<float>();
  auto values = beta.defined() ? detail::channel_values(beta) : std::vector<double>(folded.b.size(), 0);
  for (std::size_t c = 0; c < values.size(); ++c)
    values[c] += round_bias(folded.b[c], input_scale * scale[c] * std::fabs(folded.k[c])) - folded.b[c];
  const auto mean = Quantizers::batch_norm_tensor(layer, "running_mean");
  const auto& like = beta.defined() ? beta : find_named(buffers, mean)->tensor;
  return at::tensor(values, at::kDouble).to(like.options().requires_grad(false));
}

}  // namespace sparsify
