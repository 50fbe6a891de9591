// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/ops/nan_to_num.h>

#include <cmath>
#include <limits>
#include <vector>

#include "sparsify/quantization/fake_quantize.hpp"

namespace sparsify {

/// What the batch-norm behind a layer makes of one output channel, y = k * (w x) + b; without one, k is 1 and
/// b the layer's bias.
struct Folded {
  std::vector<double> k;
  std::vector<double> b;
};

namespace detail {

// Integer biases are kept below 2^30, so that the accumulator they start has room for the products. A little
// below, because scales are rounded to float32, and once more where batch-norm is folded into them.
inline constexpr double kSmallestBiasStep = (1 + 1.0 / (1 << 21)) / (1 << 30);
inline constexpr double kSmallestScale = 1e-30;
inline bool is_usable_scale(double scale) { return scale > kSmallestScale && scale < 1e30; }

// The scale of a channel without weights is free: it gives its bias so many steps.
inline constexpr double kStepsOfFreeBias = 1 << 20;

// That scale; `bias`: in units of the input's.
inline double scale_of_bias(double bias) {
  const double scale = std::fabs(bias) / kStepsOfFreeBias;
  return is_usable_scale(scale) ? scale : 1;
}

// float32 copies on the CPU of per-channel vectors.
inline std::vector<double> channel_values(const at::Tensor& tensor) {
  const auto plain = tensor.detach().to(at::kCPU, at::kDouble).contiguous();
  return {plain.const_data_ptr<double>(), plain.const_data_ptr<double>() + plain.numel()};
}

// Every output channel is one block of memory, in the plain and in the channels_last layout alike.
inline bool has_channel_blocks(const at::Tensor& weight) {
  return weight.device().is_cpu() && weight.scalar_type() == at::kFloat &&
         weight.is_non_overlapping_and_dense() &&
         (weight.size(0) == 1 || weight.stride(0) * weight.size(0) == weight.numel());
}

template <class Act>
void over_channels(const at::Tensor& weight, const Act& act) {
  const std::int64_t channels = weight.size(0), block = weight.numel() / channels;
#pragma omp parallel for schedule(static) if (weight.numel() > 32768)
  for (std::int64_t c = 0; c < channels; ++c) act(c, c * block, block);
}

// Numbers of channels, shaped to multiply a tensor of `dims` dimensions: a weight, whose output channels are
// dimension 0, unless it says another.
inline at::Tensor along_channels(const at::Tensor& values, std::int64_t dims, std::int64_t channel_dim = 0) {
  std::vector<std::int64_t> sizes(static_cast<std::size_t>(dims), 1);
  sizes[static_cast<std::size_t>(channel_dim)] = -1;
  return values.reshape(sizes);
}

struct RoundWeight : torch::autograd::Function<RoundWeight> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& weight,
                            const at::Tensor& scale, std::int64_t highest, Holds holds) {
    const bool integers = holds == Holds::kIntegers;
    const auto on_device = scale.to(weight.device());
    if (integers) context->save_for_backward({on_device});
    if (!has_channel_blocks(weight)) {
      const auto by = along_channels(on_device, weight.dim());
      const auto rounded =
          weight.to(at::kFloat).div(by).round_().clamp_(-highest, highest);  // a NaN stays one
      return integers ? rounded : rounded.mul(by).to(weight.scalar_type());
    }
    const auto end = static_cast<float>(highest);
    auto out = at::empty_like(weight);
    const auto* in = weight.const_data_ptr<float>();
    auto* result = out.mutable_data_ptr<float>();
    const auto* scales = scale.const_data_ptr<float>();
    over_channels(weight, [&](std::int64_t c, std::int64_t begin, std::int64_t count) {
      Extent unused;
      const RoundTo to{integers ? 1.0f : scales[c], scales[c], -end, end};
      round_best<false, false>(in + begin, result + begin, nullptr, count, to, unused);
    });
    return out;
  }
  // Scales are never smaller than max|w| / highest: nothing was clipped that is finite.
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const auto saved = context->get_saved_variables();
    return {saved.empty() ? gradients[0] : gradients[0].div(along_channels(saved[0], gradients[0].dim())),
            {},
            {},
            {}};
  }
};

}  // namespace detail

/// Largest magnitude of each output channel (dimension 0), float32. What is not a number does not count.
inline at::Tensor channel_maxima(const at::Tensor& weight) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  if (!detail::has_channel_blocks(weight))
    return at::nan_to_num(weight.detach().to(at::kFloat).abs(), 0, kInfinity).flatten(1).amax(1).cpu();
  auto maxima = at::empty({weight.size(0)}, weight.options().requires_grad(false));
  auto* result = maxima.mutable_data_ptr<float>();
  const auto* in = weight.const_data_ptr<float>();
  detail::over_channels(weight, [&](std::int64_t c, std::int64_t begin, std::int64_t count) {
    Extent seen;
    detail::extent_best(in + begin, count, seen);
    result[c] = std::max({-seen.low, seen.high, 0.0f});
  });
  return maxima;
}

/// Scales of the weight's output channels, float32 on the CPU: max|w| / highest, raised where the folded bias
/// would not fit its 32-bit integer, |b| <= 2^30 * input_scale * scale * |k|, as in channels that pruning has
/// nearly emptied. The scale of a channel of zeros is free: it gives the bias 20 bits. `folded` null: the
/// bias stays in floating point. A channel with an infinite weight, or bias, has scale 1.
inline at::Tensor weight_scales(const at::Tensor& weight, const Folded* folded, double input_scale,
                                std::int64_t highest = 127) {
  auto scales = channel_maxima(weight);
  auto* scale = scales.mutable_data_ptr<float>();
  for (std::int64_t c = 0; c < scales.numel(); ++c) {
    const double largest = scale[c];
    const double multiplier = folded ? input_scale * std::fabs(folded->k[c]) : 0;
    const double bias =
        multiplier > 0 ? std::fabs(folded->b[c]) / multiplier : 0;  // in units of the weight's scale
    double chosen = std::max(largest / static_cast<double>(highest), bias * detail::kSmallestBiasStep);
    if (largest == 0) chosen = detail::scale_of_bias(bias);
    scale[c] = detail::is_usable_scale(chosen) ? static_cast<float>(chosen) : 1.0f;
  }
  return scales;
}

/// The same with one scale for the folded weight, k * w, of all channels, so that engines which take no more
/// can run it: the scale of a channel is that one divided by its |k|. A channel that batch-norm multiplies by
/// 0 has a scale of its own, as it comes out 0 on any.
inline at::Tensor tensor_weight_scales(const at::Tensor& weight, const Folded& folded, double input_scale,
                                       std::int64_t highest = 127) {
  auto scales = weight_scales(weight, nullptr, 0, highest);
  const auto maxima = channel_maxima(weight);
  auto* scale = scales.mutable_data_ptr<float>();
  double common = 0;
  for (std::int64_t c = 0; c < scales.numel(); ++c) {
    const double largest = maxima.const_data_ptr<float>()[c] * std::fabs(folded.k[c]);
    const double bias =
        input_scale > 0 ? std::fabs(folded.b[c]) / input_scale * detail::kSmallestBiasStep : 0;
    for (const double wanted : {largest / static_cast<double>(highest), bias})
      if (std::isfinite(wanted)) common = std::max(common, wanted);
  }
  for (std::int64_t c = 0; c < scales.numel(); ++c) {
    const double chosen = common / std::fabs(folded.k[c]);
    if (detail::is_usable_scale(chosen)) scale[c] = static_cast<float>(chosen);
  }
  return scales;
}

/// The weight on the grid of each output channel, integers in [-highest, highest] (zeros stay zeros), or
/// those integers themselves in float32; the gradient is that of the identity, or of a division by the scale.
/// `scales` as from weight_scales. Infinite weights become the outermost integer, and a NaN stays one.
inline at::Tensor fake_quantize_weight(const at::Tensor& weight, const at::Tensor& scales,
                                       std::int64_t highest = 127, Holds holds = Holds::kValues) {
  return detail::RoundWeight::apply(weight, scales, highest, holds);
}

/// The bias moved to the grid of its 32-bit integers, `input_scale * scale * |k|` apart, as integer engines
/// add it.
inline double round_bias(double bias, double step) {
  return step > 0 && std::isfinite(bias / step) ? std::nearbyint(bias / step) * step : bias;
}

}  // namespace sparsify
