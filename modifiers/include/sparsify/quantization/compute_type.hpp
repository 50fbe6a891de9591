// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>

// Declared here because their header, ATen/autocast_mode.h, includes all of ATen.
namespace at::autocast {
TORCH_API bool is_autocast_enabled(at::DeviceType device_type);
TORCH_API at::ScalarType get_autocast_dtype(at::DeviceType device_type);
}  // namespace at::autocast

namespace sparsify {

/// Whether autocast chooses what operators that read x compute in.
inline bool is_autocast(const at::Tensor& x) { return at::autocast::is_autocast_enabled(x.device().type()); }

/// Whether a convolution or linear layer that reads x computes in bfloat16, by x itself or by autocast.
inline bool computes_in_bfloat16(const at::Tensor& x) {
  if (x.scalar_type() == at::kBFloat16) return true;
  return x.scalar_type() == at::kFloat && is_autocast(x) &&
         at::autocast::get_autocast_dtype(x.device().type()) == at::kBFloat16;
}

}  // namespace sparsify
