// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <torch/torch.h>

#include <string>

#include "sparsify/modifiers/quantization.hpp"

// What quantizers do to tensors, by LibTorch's own operators and plain arithmetic.

namespace sparsify::test {

inline Recipe quantize(const std::string& scheme = "cpu", double start = 0) {
  Recipe recipe;
  Quantization::Options options;
  options.scheme = scheme;
  options.start_epoch = start;
  recipe.add<Quantization>(options);
  return recipe;
}

inline at::Tensor rounded(const at::Tensor& x, const QuantizerParameters& by) {
  return at::fake_quantize_per_tensor_affine(x, by.scale.item<float>(), by.zero_point.item<std::int64_t>(), 0,
                                             255);
}
inline at::Tensor rounded_weight(const at::Tensor& weight, const QuantizerParameters& by) {
  return at::fake_quantize_per_channel_affine(weight, by.scale, by.zero_point, 0, -127, 127);
}
inline at::Tensor rounded_bias(const at::Tensor& bias, const QuantizerParameters& input,
                               const QuantizerParameters& weight) {
  const auto step = input.scale.to(at::kDouble) * weight.scale.to(at::kDouble);
  return ((bias.to(at::kDouble) / step).round() * step).to(at::kFloat);
}

}  // namespace sparsify::test
