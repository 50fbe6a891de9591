// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>

#include "sparsify/quantization/fake_quantize.hpp"
#include "sparsify/quantization/norm_kernel.hpp"

namespace sparsify {
namespace detail {

/// The rows of a float32 or bfloat16 activation [N, C, H, W] on the CPU, plain or channels_last; none:
/// another.
inline Rows rows_of(const at::Tensor& x) {
  if (x.dim() != 4 || !is_plain(x) || x.numel() == 0) return {};
  const auto n = x.size(0), c = x.size(1), pixels = x.size(2) * x.size(3);
  if (x.is_contiguous(at::MemoryFormat::ChannelsLast)) return {n * pixels, c, c, true};
  if (x.is_contiguous()) return {n * c, pixels, c, false};
  return {};
}

/// The rows of a layer's output, whose channels are one dimension; [N, C, H, W], or [..., C].
inline Rows rows_of_channels(const at::Tensor& x, std::int64_t channel_dim) {
  if (channel_dim + 1 != x.dim()) return rows_of(x);
  if (x.numel() == 0 || !is_plain(x) || !x.is_contiguous()) return {};
  return {x.numel() / x.size(-1), x.size(-1), x.size(-1), true};
}

}  // namespace detail
}  // namespace sparsify
