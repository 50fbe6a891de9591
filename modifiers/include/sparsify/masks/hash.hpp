// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace sparsify {

/// A fingerprint of a mask: FNV-1a over its elements in logical (contiguous) order, so that layout and device
/// do not matter.
inline std::int64_t mask_hash(const at::Tensor& mask) {
  const auto plain = mask.cpu().contiguous();
  const auto* keep = plain.const_data_ptr<bool>();
  std::uint64_t hash = 14695981039346656037ULL;
  for (std::int64_t i = 0; i < plain.numel(); ++i)
    hash = (hash ^ static_cast<std::uint64_t>(keep[i])) * 1099511628211ULL;
  return static_cast<std::int64_t>(hash);
}

}  // namespace sparsify
