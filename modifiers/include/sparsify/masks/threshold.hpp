// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty_like.h>
#include <omp.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <vector>

#include "sparsify/masks/apply.hpp"

namespace sparsify {
namespace detail {

/// Magnitudes as integers: for IEEE floats the bits without the sign order as |x| does; NaN sorts above
/// infinity.
inline std::uint32_t magnitude_bits(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits & 0x7fffffffU;
}

inline constexpr int kHighBits = 16,
                     kLowBits = 15;  // 31 magnitude bits in two digits: two passes over memory
using Histogram = std::vector<std::int64_t>;

/// Counts, over all spans, the `digit` of every element whose bits pass `include`.
template <class Digit>
void count_digits(const float* values, std::int64_t count, Histogram& total, const Digit& digit) {
  // Weights crowd into few exponents: per-thread histograms avoid contention, and 32-bit counters keep them
  // in cache.
#pragma omp parallel if (count > 1 << 15)
  {
    std::vector<std::uint32_t> own(total.size(), 0);
#pragma omp for schedule(static) nowait
    for (std::int64_t i = 0; i < count; ++i) {
      const auto bucket = digit(magnitude_bits(values[i]));
      if (bucket >= 0) ++own[static_cast<std::size_t>(bucket)];
    }
#pragma omp critical(sparsify_count_digits)
    for (std::size_t b = 0; b < total.size(); ++b) total[b] += own[b];
  }
}

/// The bucket that holds the element of rank `rank` (0-based); lowers `rank` to its rank within the bucket.
inline std::uint32_t find_bucket(const Histogram& histogram, std::int64_t& rank) {
  std::uint32_t bucket = 0;
  while (rank >= histogram[bucket]) rank -= histogram[bucket++];
  return bucket;
}

/// Writes keep = bits > threshold, and for bits == threshold prunes the first `ties` in memory order. Returns
/// ties used.
inline std::int64_t write_mask(const float* values, bool* keep, std::int64_t count, std::uint32_t threshold,
                               std::int64_t ties) {
  const int chunks = std::max(1, omp_get_max_threads());
  const std::int64_t size = (count + chunks - 1) / chunks;
  std::vector<std::int64_t> equal(static_cast<std::size_t>(chunks), 0);
#pragma omp parallel for schedule(static, 1) if (count > 1 << 15)
  for (int c = 0; c < chunks; ++c) {
    std::int64_t found = 0;
    for (std::int64_t i = c * size, end = std::min(count, i + size); i < end; ++i) {
      const auto bits = magnitude_bits(values[i]);
      keep[i] = bits > threshold;
      found += bits == threshold;
    }
    equal[static_cast<std::size_t>(c)] = found;
  }
  std::int64_t used = 0;
  for (int c = 0; c < chunks; ++c) {
    const auto found = equal[static_cast<std::size_t>(c)];
    const auto pruned = std::min(found, ties - used);
    used += pruned;
    std::int64_t left = found - pruned;  // ties are kept from the back of the chunk
    for (std::int64_t i = std::min(count, (c + 1) * size) - 1; left > 0; --i)
      if (magnitude_bits(values[i]) == threshold) keep[i] = true, --left;
  }
  return used;
}

}  // namespace detail

/// Masks that prune exactly `pruned` elements of smallest magnitude over all tensors together.
///
/// Equal magnitudes are pruned in order of tensor and memory, so the result does not depend on threads. NaN
/// counts as the largest magnitude. Selection by a two-digit radix histogram on the float bits: three passes
/// over memory, no sorting. Masks have the layout of their tensors. Tensors on another device or of another
/// type are computed through float32 on the CPU.
inline std::vector<at::Tensor> smallest_magnitude_masks(const std::vector<at::Tensor>& tensors,
                                                        std::int64_t pruned) {
  at::NoGradGuard no_grad;
  std::vector<at::Tensor> values, masks;
  std::int64_t total = 0;
  for (const auto& tensor : tensors) {
    auto plain = tensor.detach().to(at::kCPU, at::kFloat);
    if (!plain.is_non_overlapping_and_dense()) plain = plain.contiguous();
    total += plain.numel();
    masks.push_back(at::empty_like(plain, plain.options().dtype(at::kBool)));
    values.push_back(std::move(plain));
  }
  pruned = std::clamp<std::int64_t>(pruned, 0, total);
  if (pruned == 0) {
    for (auto& mask : masks) mask.fill_(true);
  } else {
    std::int64_t rank = pruned - 1;
    detail::Histogram high(std::size_t{1} << detail::kHighBits, 0),
        low(std::size_t{1} << detail::kLowBits, 0);
    for (const auto& v : values)
      detail::count_digits(v.const_data_ptr<float>(), v.numel(), high, [](std::uint32_t bits) {
        return static_cast<std::int64_t>(bits >> detail::kLowBits);
      });
    const auto top = detail::find_bucket(high, rank);
    for (const auto& v : values)
      detail::count_digits(v.const_data_ptr<float>(), v.numel(), low, [top](std::uint32_t bits) {
        return bits >> detail::kLowBits == top
                   ? static_cast<std::int64_t>(bits & ((1U << detail::kLowBits) - 1))
                   : -1;
      });
    const auto threshold = top << detail::kLowBits | detail::find_bucket(low, rank);
    std::int64_t ties = rank + 1;  // so many of the elements equal to the threshold go
    for (std::size_t t = 0; t < values.size(); ++t)
      ties -= detail::write_mask(values[t].const_data_ptr<float>(), masks[t].mutable_data_ptr<bool>(),
                                 values[t].numel(), threshold, ties);
  }
  for (std::size_t t = 0; t < tensors.size(); ++t) masks[t] = masks[t].to(tensors[t].device());
  return masks;
}

}  // namespace sparsify
