// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "sparsify/quantization/quantizers.hpp"
#include "sparsify/quantization/rows.hpp"

// Integer engines add up products of integers and an integer bias exactly, multiply the sum by one float32
// number that holds all scales, and round once. Sums of rounded real numbers differ from that by their own
// rounding, and every tie that falls otherwise moves others in the layers behind it.

namespace sparsify {

/// What makes a layer's sums of products its output: a number of each for every output channel.
struct SumForm {
  std::vector<double> sign;   ///< of the batch norm's factor, which engines have in the weight
  std::vector<double> bias;   ///< integers, in units of the sums
  std::vector<float> factor;  ///< real output for a unit of the sums
};

/// As the exporter writes the layer. `scales`: of the weight, one per output channel.
inline SumForm sum_form(const WeightQuantizer& layer, const at::Tensor& scales, float input_scale,
                        const Parameters& parameters, const Parameters& buffers) {
  const auto channels = static_cast<std::size_t>(scales.numel());
  const auto folded = fold(layer, scales.numel(), parameters, buffers);
  SumForm form{std::vector<double>(channels, 1), folded.b, std::vector<float>(channels)};
  for (std::size_t c = 0; c < channels; ++c) {
    const double k = folded.k[c];
    auto scale = static_cast<float>(scales.const_data_ptr<float>()[c] * std::fabs(k));
    form.sign[c] = k < 0 ? -1 : k > 0 ? 1 : 0;
    if (scale < detail::kSmallestScale && !layer.per_tensor) {  // the bias is all there is
      form.sign[c] = 0;
      scale = static_cast<float>(detail::scale_of_bias(folded.b[c] / input_scale));
    }
    form.factor[c] = scale * input_scale;
  }
  if (layer.per_tensor)
    form.factor.assign(channels, *std::max_element(form.factor.begin(), form.factor.end()));
  for (std::size_t c = 0; c < channels; ++c) form.bias[c] = std::nearbyint(folded.b[c] / form.factor[c]);
  return form;
}

namespace detail {

// Sums with their bias fit 32 bits, not 24: double holds them, float32 gets them rounded, as engines do.
template <bool kAlong, bool kRound>
inline __attribute__((always_inline)) void finish_piece(float* sums, std::int64_t count, const double* sign,
                                                        const double* bias, const float* factor, float first,
                                                        float last) {
#pragma omp simd
  for (std::int64_t i = 0; i < count; ++i) {
    const auto at = kAlong ? i : 0;
    const float value = static_cast<float>(static_cast<double>(sums[i]) * sign[at] + bias[at]) * factor[at];
    const float integer = kRound ? __builtin_rintf(value) : value;
    const float raised = integer < first ? first : integer;
    sums[i] = raised > last ? last : raised;
  }
}

template <bool kRound>
void finish_rows(float* sums, const Rows& rows, const SumForm& form, float first, float last) {
  over_parts(threads_for(rows.count * rows.length), rows.count,
             [&](std::int64_t, std::int64_t first_row, std::int64_t end) {
               run_best([&]() __attribute__((always_inline)) {
                 for (std::int64_t row = first_row; row < end; ++row) {
                   auto* at = sums + row * rows.length;
                   const auto c = rows.channel(row);
                   if (rows.along)
                     finish_piece<true, kRound>(at, rows.length, form.sign.data(), form.bias.data(),
                                                form.factor.data(), first, last);
                   else
                     finish_piece<false, kRound>(at, rows.length, &form.sign[c], &form.bias[c],
                                                 &form.factor[c], first, last);
                 }
               });
             });
}

}  // namespace detail

/// A layer's real output from its sums, float32 on the CPU and without gaps, in their memory; with `grid`,
/// the integers less the zero point instead. Either are clipped.
inline void finish_sums(const at::Tensor& sums, std::int64_t channel_dim, SumForm form, const Grid* grid,
                        const Clip& clip) {
  const auto rows = detail::rows_of_channels(sums, channel_dim);
  auto* values = sums.mutable_data_ptr<float>();
  if (!grid) return detail::finish_rows<false>(values, rows, form, clip.lowest, clip.highest);
  for (auto& factor : form.factor) factor /= grid->scale;
  const auto to = detail::round_to(*grid, Holds::kIntegers);
  detail::finish_rows<true>(values, rows, form, std::max(to.first, std::nearbyint(clip.lowest / grid->scale)),
                            std::min(to.last, std::nearbyint(clip.highest / grid->scale)));
}

}  // namespace sparsify
