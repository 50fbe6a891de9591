// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty_like.h>

#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "sparsify/error.hpp"
#include "sparsify/masks/apply.hpp"
#include "sparsify/masks/keep_largest.hpp"

namespace sparsify {

/// N:M sparsity: of every `m` consecutive input channels at most `n` are non-zero (2:4 is what NVIDIA GPUs
/// accelerate).
struct NofM {
  std::int64_t n = 2;
  std::int64_t m = 4;
  double sparsity() const { return 1.0 - static_cast<double>(n) / static_cast<double>(m); }
};

/// Parses "2:4"; throws InvalidField("mask_type").
inline NofM parse_n_of_m(const std::string& text) {
  NofM pattern;
  char rest = 0;
  if (std::sscanf(text.c_str(), "%" SCNd64 ":%" SCNd64 "%c", &pattern.n, &pattern.m, &rest) != 2 ||
      pattern.n < 1 || pattern.m <= pattern.n || pattern.m > 64)
    throw InvalidField("mask_type", "expected N:M with 0 < N < M <= 64, such as 2:4, got '" + text + "'");
  return pattern;
}

/// The mask that keeps, in every group of `m` input channels, the `n` of largest magnitude; ties keep the
/// lower channel. `weight`: [out, in] or [out, in, kh, kw]; groups lie along `in`, for every output channel
/// and kernel tap by itself (TensorRT's rule; arXiv 2104.08378). Throws Error when `in` is not a multiple of
/// `m`. With `keep_sign` the largest values are kept instead: for scores.
inline at::Tensor n_of_m_mask(const at::Tensor& weight, NofM pattern, bool keep_sign = false) {
  if (weight.dim() < 2 || weight.size(1) % pattern.m != 0)
    throw Error("N:M mask: " + std::to_string(weight.dim() < 2 ? 0 : weight.size(1)) +
                " input channels are not a multiple of " + std::to_string(pattern.m));
  at::NoGradGuard no_grad;
  auto values = weight.detach().to(at::kCPU, at::kFloat);
  // Groups side by side in memory (linear layers, 1x1 kernels, channels_last), or rows of taps one below
  // another.
  const auto outer = weight.size(0) == 0 ? 0 : values.numel() / weight.size(0);
  const bool side_by_side = values.is_non_overlapping_and_dense() && values.stride(1) == 1 &&
                            (weight.size(0) < 2 || values.stride(0) == outer);
  if (!side_by_side) values = values.contiguous();
  auto mask = at::empty_like(values, values.options().dtype(at::kBool));
  const std::int64_t taps = side_by_side ? 1 : values.stride(1);
  const auto* w = values.const_data_ptr<float>();
  auto* keep = mask.mutable_data_ptr<bool>();
#pragma omp parallel for schedule(static) if (values.numel() > 1 << 14)
  for (std::int64_t out = 0; out < weight.size(0); ++out)
    if (keep_sign)
      detail::keep_largest<detail::ByValue>(w + out * outer, keep + out * outer, outer, taps, pattern.n,
                                            pattern.m);
    else
      detail::keep_largest<detail::ByMagnitude>(w + out * outer, keep + out * outer, outer, taps, pattern.n,
                                                pattern.m);
  if (mask.strides() == weight.strides()) return mask.to(weight.device());
  return placed_like(weight, mask);
}

/// Whether every group of `m` input channels holds at most `n` non-zeros.
inline bool obeys(const at::Tensor& weight, NofM pattern) {
  if (weight.dim() < 2 || weight.size(1) % pattern.m != 0) return false;
  const auto groups = weight.detach().reshape({weight.size(0), weight.size(1) / pattern.m, pattern.m, -1});
  return groups.ne(0).sum(2).max().item<std::int64_t>() <= pattern.n;
}

}  // namespace sparsify
