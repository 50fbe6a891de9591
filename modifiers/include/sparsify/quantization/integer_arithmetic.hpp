// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty_like.h>

#include "sparsify/quantization/fake_quantize.hpp"

namespace sparsify {
namespace detail {

// With zero points in, as engines have them: fused multiply-adds in float32, each rounded once, which sums of
// products in double are when they are narrowed.
struct AddIntegers {
  float zero_a, zero_b, ratio_a, ratio_b, fixed, zero, first, last;

  inline __attribute__((always_inline)) float operator()(float a, float b) const {
    const auto with_b = static_cast<float>(static_cast<double>(b + zero_b) * ratio_b + fixed);
    const auto with_a = static_cast<float>(static_cast<double>(a + zero_a) * ratio_a + with_b);
    const float integer = __builtin_rintf(with_a) - zero;
    const float raised = integer < first ? first : integer;
    return raised > last ? last : raised;
  }
};

}  // namespace detail

/// a + b for integers less their zero points on grids of their own, as integers on the grid `to`: what ONNX
/// Runtime's kernel for x86 gives (MLAS, AVX2), which works on ratios of scales. Equal sizes; float32 on the
/// CPU.
inline at::Tensor add_integers(const at::Tensor& a, const Grid& of_a, const at::Tensor& b, const Grid& of_b,
                               const Grid& to) {
  const auto left = detail::is_plain(a) ? a : detail::plain_copy(a);
  auto out = at::empty_like(left);
  const auto right = detail::same_layout(left, b) ? b : at::empty_like(left).copy_(b);
  const auto zero_a = static_cast<float>(of_a.zero_point), zero_b = static_cast<float>(of_b.zero_point),
             zero = static_cast<float>(to.zero_point);
  const float ratio_a = of_a.scale / to.scale, ratio_b = of_b.scale / to.scale;
  const auto offset =
      static_cast<float>(static_cast<double>(ratio_a) * zero_a + static_cast<double>(ratio_b * zero_b));
  const auto ends = detail::round_to(to, Holds::kIntegers);
  const detail::AddIntegers add{zero_a, zero_b, ratio_a, ratio_b, zero - offset, zero, ends.first, ends.last};
  const auto *x = left.const_data_ptr<float>(), *y = right.const_data_ptr<float>();
  auto* sums = out.mutable_data_ptr<float>();
  detail::over_threads(left.numel(), [&](std::int64_t begin, std::int64_t end) {
    detail::run_best([&]() __attribute__((always_inline)) {
#pragma omp simd
      for (std::int64_t i = begin; i < end; ++i) sums[i] = add(x[i], y[i]);
    });
  });
  return out;
}

/// a * b likewise, sizes broadcast.
inline at::Tensor multiply_integers(const at::Tensor& a, const Grid& of_a, const at::Tensor& b,
                                    const Grid& of_b, const Grid& to) {
  const float ratio = of_a.scale * of_b.scale / to.scale;
  const auto zero = static_cast<double>(to.zero_point);
  const auto ends = detail::round_to(to, Holds::kIntegers);
  return a.mul(b)
      .mul_(static_cast<double>(ratio))
      .add_(zero)
      .round_()
      .sub_(zero)
      .clamp_(ends.first, ends.last);
}

/// The average over the images of [N, C, H, W], [N, C, 1, 1], for such integers; as that kernel gives it.
inline at::Tensor average_integers(const at::Tensor& x, const Grid& of_x, const Grid& to) {
  const auto pixels = static_cast<float>(x.size(2) * x.size(3));
  const float ratio = of_x.scale / (to.scale * pixels);
  const auto ends = detail::round_to(to, Holds::kIntegers);
  return x.sum({2, 3}, /*keepdim=*/true)
      .mul_(static_cast<double>(ratio))
      .round_()
      .clamp_(ends.first, ends.last);
}

}  // namespace sparsify
