// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty_like.h>

#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "sparsify/error.hpp"
#include "sparsify/masks/threshold.hpp"

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
/// `m`.
inline at::Tensor n_of_m_mask(const at::Tensor& weight, NofM pattern) {
  if (weight.dim() < 2 || weight.size(1) % pattern.m != 0)
    throw Error("N:M mask: " + std::to_string(weight.dim() < 2 ? 0 : weight.size(1)) +
                " input channels are not a multiple of " + std::to_string(pattern.m));
  at::NoGradGuard no_grad;
  const auto values = weight.detach().to(at::kCPU, at::kFloat).contiguous();
  auto mask = at::empty_like(values, values.options().dtype(at::kBool));
  const auto* w = values.const_data_ptr<float>();
  auto* keep = mask.mutable_data_ptr<bool>();
  const std::int64_t in = weight.size(1), taps = weight[0][0].numel(), m = pattern.m;
  const std::int64_t groups = weight.size(0) * (in / m);
#pragma omp parallel for schedule(static) if (values.numel() > 1 << 14)
  for (std::int64_t g = 0; g < groups; ++g) {
    const std::int64_t base = g * m * taps;  // [out][in / m] groups, each m rows of `taps`
    for (std::int64_t tap = 0; tap < taps; ++tap)
      for (std::int64_t i = 0; i < m; ++i) {
        const auto own = detail::magnitude_bits(w[base + i * taps + tap]);
        std::int64_t larger = 0;
        for (std::int64_t j = 0; j < m; ++j) {
          const auto other = detail::magnitude_bits(w[base + j * taps + tap]);
          larger += other > own || (other == own && j < i);
        }
        keep[base + i * taps + tap] = larger < pattern.n;
      }
  }
  auto placed = at::empty_like(weight.detach(), weight.options().dtype(at::kBool).requires_grad(false));
  placed.copy_(mask);  // the weight's own layout and device
  return placed;
}

/// Whether every group of `m` input channels holds at most `n` non-zeros.
inline bool obeys(const at::Tensor& weight, NofM pattern) {
  if (weight.dim() < 2 || weight.size(1) % pattern.m != 0) return false;
  const auto groups = weight.detach().reshape({weight.size(0), weight.size(1) / pattern.m, pattern.m, -1});
  return groups.ne(0).sum(2).max().item<std::int64_t>() <= pattern.n;
}

}  // namespace sparsify
