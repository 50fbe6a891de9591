// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty_like.h>

namespace sparsify {
namespace detail {

/// Same memory order: element i of both buffers is the same element of both tensors.
inline bool same_layout(const at::Tensor& a, const at::Tensor& b) {
  if (!a.is_non_overlapping_and_dense() || !b.is_non_overlapping_and_dense() || a.sizes() != b.sizes())
    return false;
  for (std::int64_t d = 0; d < a.dim(); ++d)
    if (a.size(d) > 1 && a.stride(d) != b.stride(d)) return false;
  return true;
}

template <class Scalar>
void zero_masked(Scalar* values, const bool* keep, std::int64_t count) {
  // -keep is all ones or all zeros: an AND needs no branch and, unlike a product, also clears NaN.
  using Bits = std::conditional_t<sizeof(Scalar) == 4, std::uint32_t, std::uint16_t>;
  auto* bits = reinterpret_cast<Bits*>(values);
#pragma omp parallel for simd schedule(static) if (count > 1 << 16)
  for (std::int64_t i = 0; i < count; ++i) bits[i] &= static_cast<Bits>(-static_cast<Bits>(keep[i]));
}

}  // namespace detail

/// A mask of any layout and place, in those of its weight.
inline at::Tensor placed_like(const at::Tensor& weight, const at::Tensor& mask) {
  auto placed = at::empty_like(weight.detach(), weight.options().dtype(at::kBool).requires_grad(false));
  placed.copy_(mask);
  return placed;
}

/// Zeroes the entries of `values` whose mask is false, in place: one pass over memory on the CPU.
/// `mask` is bool and has the shape of `values`.
inline void apply_mask_(const at::Tensor& values, const at::Tensor& mask) {
  at::NoGradGuard no_grad;
  const bool fast = values.device().is_cpu() && detail::same_layout(values, mask);
  const auto keep = fast ? mask.const_data_ptr<bool>() : nullptr;
  if (fast && values.scalar_type() == at::kFloat)
    detail::zero_masked(values.mutable_data_ptr<float>(), keep, values.numel());
  else if (fast && values.scalar_type() == at::kBFloat16)
    detail::zero_masked(values.mutable_data_ptr<at::BFloat16>(), keep, values.numel());
  else
    values.masked_fill_(mask.logical_not(), 0);
}

}  // namespace sparsify
