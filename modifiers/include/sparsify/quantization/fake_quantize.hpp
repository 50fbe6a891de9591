// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/aminmax.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/empty_strided.h>
#include <ATen/ops/fake_quantize_per_tensor_affine.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>
#include <limits>
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

/// The grid that covers an extent; 0 is always exactly on it. An end counts up to half the largest number, so
/// that the distance of both is one, and as 0 when it is not a number.
inline Grid make_grid(const Extent& extent, const ActivationRange& range, bool non_negative) {
  Grid grid{1, 0, range.lowest, range.highest};
  const auto end = [](float value) {
    constexpr float kFarthest = std::numeric_limits<float>::max() / 2;
    return std::isnan(value) ? 0 : std::clamp(value, -kFarthest, kFarthest);
  };
  const float low = non_negative ? 0 : std::min(end(extent.low), 0.0f),
              high = std::max(end(extent.high), 0.0f);
  const auto use = [&](float scale) {
    if (scale > 1e-30f) grid.scale = scale;
  };
  if (range.symmetric && !(non_negative && range.lowest == 0)) {
    grid.zero_point = range.middle();
    use(std::max(-low, high) / static_cast<float>(range.highest - grid.zero_point));
    return grid;
  }
  use((high - low) / static_cast<float>(range.highest - range.lowest));
  const auto offset = static_cast<std::int64_t>(std::nearbyint(static_cast<double>(low) / grid.scale));
  grid.zero_point = std::clamp(range.lowest - offset, range.lowest, range.highest);
  return grid;
}

/// What a rounded tensor holds: values on the grid, or the integers less the zero point (value / scale),
/// which bfloat16 holds exactly up to 256.
enum class Holds { kValues, kIntegers };

namespace detail {

inline RoundTo round_to(const Grid& grid, Holds holds) {
  return {holds == Holds::kIntegers ? 1.0f : grid.scale, grid.scale,
          static_cast<float>(grid.lowest - grid.zero_point),
          static_cast<float>(grid.highest - grid.zero_point)};
}

// What the fused kernels take: any memory order without gaps.
inline bool is_plain(const at::Tensor& x) {
  return x.device().is_cpu() && x.layout() == at::kStrided && x.is_non_overlapping_and_dense() &&
         (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16);
}

// Whether a plain copy is what makes x plain: it has gaps, or repeats elements, or is of another type.
inline bool may_be_copied(const at::Tensor& x) {
  return x.device().is_cpu() && x.layout() == at::kStrided && !is_plain(x);
}
inline at::Tensor plain_copy(const at::Tensor& x) {
  return x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16 ? x.clone() : x.to(at::kFloat);
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

// `mask`: a bit for each element in the memory order of x, or undefined when no gradient is wanted.
inline void round_plain(const at::Tensor& x, const at::Tensor& out, const at::Tensor& mask, const RoundTo& to,
                        Extent* seen) {
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

inline at::Tensor empty_bits(const at::Tensor& x) {
  return at::empty({bytes_of_bits(x.numel())}, x.options().dtype(at::kByte).requires_grad(false));
}

// A gradient as it lies in memory as `sizes` and `strides` say: the incoming one may have another order.
inline at::Tensor in_order(const at::Tensor& gradient, at::IntArrayRef sizes, at::IntArrayRef strides) {
  auto out = at::empty_strided(sizes, strides, gradient.options());
  return same_layout(gradient, out) ? gradient : out.copy_(gradient);
}

struct RoundActivation : torch::autograd::Function<RoundActivation> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x, Grid grid,
                            Holds holds, Extent* seen, bool in_place) {
    const auto mask = empty_bits(x);
    const auto out = in_place ? x : at::empty_like(x);
    round_plain(x, out, mask, round_to(grid, holds), seen);
    if (in_place) context->mark_dirty({x});
    context->save_for_backward({mask});
    context->saved_data["sizes"] = x.sizes();
    context->saved_data["strides"] = x.strides();
    context->saved_data["factor"] = holds == Holds::kIntegers ? 1.0 / grid.scale : 1.0;
    return out;
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const auto gradient = in_order(gradients[0], context->saved_data["sizes"].toIntVector(),
                                   context->saved_data["strides"].toIntVector());
    const auto mask = context->get_saved_variables()[0];
    const auto factor = static_cast<float>(context->saved_data["factor"].toDouble());
    const auto out = at::empty_like(gradient);
    with_elements(gradient, [&](auto kind) {
      using T = decltype(kind);
      keep_all(elements<T>(gradient), mask.const_data_ptr<std::uint8_t>(), mutable_elements<T>(out),
               out.numel(), factor);
    });
    return {out, {}, {}, {}, {}};
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
  if (detail::may_be_copied(x)) return extent_of(detail::plain_copy(x.detach()));
  const auto [low, high] = at::aminmax(x.detach());
  return {low.item<float>(), high.item<float>()};
}

/// x rounded to a grid (half to even) and clipped to it; the gradient passes where nothing was clipped (Jacob
/// et al. 2018, arXiv 1712.05877). float32 and bfloat16 without gaps take one pass over memory, which also
/// merges the extent of x into `seen` when given; what else lies on the CPU is copied before. A bfloat16
/// value is the grid's rounded to 8 bits; `holds` asks for the integers instead, which are exact.
inline at::Tensor fake_quantize(const at::Tensor& x, const Grid& grid, Extent* seen = nullptr,
                                Holds holds = Holds::kValues) {
  if (x.numel() == 0) return x;
  if (detail::is_plain(x)) {
    if (detail::wants_gradient(x)) return detail::RoundActivation::apply(x, grid, holds, seen, false);
    auto out = at::empty_like(x);
    detail::round_plain(x, out, {}, detail::round_to(grid, holds), seen);
    return out;
  }
  if (detail::may_be_copied(x))
    return fake_quantize(detail::plain_copy(x), grid, seen, holds).to(x.scalar_type());
  if (seen) seen->merge(extent_of(x));
  const bool integers = holds == Holds::kIntegers;
  const auto wide = integers ? x.to(at::kFloat).mul(1.0f / grid.scale) : x.to(at::kFloat);
  return at::fake_quantize_per_tensor_affine(wide, integers ? 1.0 : grid.scale, grid.zero_point, grid.lowest,
                                             grid.highest)
      .to(x.scalar_type());
}

/// The same in the memory of x.
inline void fake_quantize_(at::Tensor x, const Grid& grid, Extent* seen = nullptr) {
  if (x.numel() == 0) return;
  if (!detail::is_plain(x))
    x.copy_(fake_quantize(x, grid, seen));
  else if (detail::wants_gradient(x))
    detail::RoundActivation::apply(x, grid, Holds::kValues, seen, true);
  else
    detail::round_plain(x, x, {}, detail::round_to(grid, Holds::kValues), seen);
}

}  // namespace sparsify
