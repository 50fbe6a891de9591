// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/aminmax.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/fake_quantize_per_channel_affine.h>
#include <ATen/ops/fake_quantize_per_tensor_affine.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include <utility>

#include "sparsify/masks/apply.hpp"
#include "sparsify/quantization/plan.hpp"
#include "sparsify/quantization/round_kernel.hpp"

namespace sparsify {

/// One grid for a tensor: real = scale * (integer - zero_point), integers in [lowest, highest].
struct Grid {
  float scale = 1;
  std::int64_t zero_point = 0;
  std::int64_t lowest = 0;
  std::int64_t highest = 255;
};

/// The grid that covers an extent; 0 is always exactly on it.
inline Grid make_grid(const Extent& extent, const ActivationRange& range, bool non_negative) {
  Grid grid{1, 0, range.lowest, range.highest};
  const float low = non_negative ? 0 : std::min(extent.low, 0.0f), high = std::max(extent.high, 0.0f);
  const auto usable = [](float scale) { return std::isfinite(scale) && scale > 1e-30f; };
  if (range.symmetric && !(non_negative && range.lowest == 0)) {
    grid.zero_point = range.middle();
    const float scale = std::max(-low, high) / static_cast<float>(range.highest - grid.zero_point);
    if (usable(scale)) grid.scale = scale;
    return grid;
  }
  const float scale = (high - low) / static_cast<float>(range.highest - range.lowest);
  if (usable(scale)) grid.scale = scale;
  const auto offset = static_cast<std::int64_t>(std::nearbyint(static_cast<double>(low) / grid.scale));
  grid.zero_point = std::clamp(range.lowest - offset, range.lowest, range.highest);
  return grid;
}

namespace detail {

inline RoundTo round_to(const Grid& grid) {
  return {grid.scale, 1.0f / grid.scale, static_cast<float>(grid.lowest - grid.zero_point),
          static_cast<float>(grid.highest - grid.zero_point)};
}

// What the fused kernels take: any memory order without gaps.
inline bool is_plain(const at::Tensor& x) {
  return x.device().is_cpu() && x.layout() == at::kStrided && x.is_non_overlapping_and_dense() &&
         (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16);
}

// Calls `act` with the type that the kernels use for the elements.
template <class Act>
auto with_elements(const at::Tensor& x, Act&& act) {
  return x.scalar_type() == at::kFloat ? act(float{}) : act(std::uint16_t{});
}
template <class T>
const T* elements(const at::Tensor& x) {
  return static_cast<const T*>(x.const_data_ptr());
}
template <class T>
T* mutable_elements(const at::Tensor& x) {
  return static_cast<T*>(x.mutable_data_ptr());
}

// `mask`: bytes in the layout of x, or undefined when no gradient is wanted.
inline void round_plain(const at::Tensor& x, const at::Tensor& out, const at::Tensor& mask, const Grid& grid,
                        Extent* seen) {
  const auto to = round_to(grid);
  auto* inside = mask.defined() ? mask.mutable_data_ptr<std::uint8_t>() : nullptr;
  with_elements(x, [&](auto kind) {
    using T = decltype(kind);
    const auto* in = elements<T>(x);
    auto* result = mutable_elements<T>(out);
    if (seen)
      seen->merge(inside ? round_all<true, true>(in, result, inside, x.numel(), to)
                         : round_all<true, false>(in, result, inside, x.numel(), to));
    else if (inside)
      round_all<false, true>(in, result, inside, x.numel(), to);
    else
      round_all<false, false>(in, result, inside, x.numel(), to);
  });
}

// The gradient where the mask is set, in the memory order of the mask: the incoming one may have another.
inline at::Tensor keep_inside(const at::Tensor& gradient, const at::Tensor& mask) {
  const bool same = same_layout(gradient, mask) && is_plain(gradient);
  auto out = at::empty_like(mask, gradient.options());
  if (!same) out.copy_(gradient);
  if (!is_plain(out)) return out.mul_(mask);
  with_elements(out, [&](auto kind) {
    using T = decltype(kind);
    keep_all(elements<T>(same ? gradient : out), mask.const_data_ptr<std::uint8_t>(),
             mutable_elements<T>(out), out.numel());
  });
  return out;
}

struct RoundActivation : torch::autograd::Function<RoundActivation> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x, Grid grid,
                            Extent* seen, bool in_place) {
    const auto mask = at::empty_like(x, x.options().dtype(at::kByte));
    const auto out = in_place ? x : at::empty_like(x);
    round_plain(x, out, mask, grid, seen);
    if (in_place) context->mark_dirty({x});
    context->save_for_backward({mask});
    return out;
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    return {keep_inside(gradients[0], context->get_saved_variables()[0]), {}, {}, {}};
  }
};

inline bool wants_gradient(const at::Tensor& x) { return at::GradMode::is_enabled() && x.requires_grad(); }

}  // namespace detail

/// Smallest and largest element of a floating-point tensor.
inline Extent extent_of(const at::Tensor& x) {
  if (x.numel() == 0) return {};
  if (detail::is_plain(x))
    return detail::with_elements(
        x, [&](auto kind) { return detail::extent_all(detail::elements<decltype(kind)>(x), x.numel()); });
  const auto [low, high] = at::aminmax(x.detach());
  return {low.item<float>(), high.item<float>()};
}

/// x rounded to a grid (half to even) and clipped to it; the gradient passes where nothing was clipped (Jacob
/// et al. 2018, arXiv 1712.05877). float32 and bfloat16 in any dense layout take one pass over memory, which
/// also merges the extent of x into `seen` when given. A bfloat16 result is the grid's value rounded to 8
/// bits.
inline at::Tensor fake_quantize(const at::Tensor& x, const Grid& grid, Extent* seen = nullptr) {
  if (x.numel() == 0) return x;
  if (detail::is_plain(x)) {
    if (detail::wants_gradient(x)) return detail::RoundActivation::apply(x, grid, seen, false);
    auto out = at::empty_like(x);
    detail::round_plain(x, out, {}, grid, seen);
    return out;
  }
  if (seen) seen->merge(extent_of(x));
  return at::fake_quantize_per_tensor_affine(x.to(at::kFloat), grid.scale, grid.zero_point, grid.lowest,
                                             grid.highest)
      .to(x.scalar_type());
}

/// The same in the memory of x.
inline void fake_quantize_(at::Tensor x, const Grid& grid, Extent* seen = nullptr) {
  if (x.numel() == 0) return;
  if (!detail::is_plain(x))
    x.copy_(fake_quantize(x, grid, seen));
  else if (detail::wants_gradient(x))
    detail::RoundActivation::apply(x, grid, seen, true);
  else
    detail::round_plain(x, x, {}, grid, seen);
}

}  // namespace sparsify
