// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>

#include <ATen/ops/empty.h>

#include <cstring>
#include <map>
#include <string>

namespace sparsify {

/// Tensors by full name ("layer1.0.conv1.weight"): a model's parameters and buffers, or a session's masks.
using StateDict = std::map<std::string, at::Tensor>;

/// A text as a tensor of its bytes, and back.
inline at::Tensor text_tensor(const std::string& text) {
  auto bytes = at::empty({static_cast<std::int64_t>(text.size())}, at::kByte);
  std::memcpy(bytes.mutable_data_ptr(), text.data(), text.size());
  return bytes;
}
inline std::string text_of(const at::Tensor& bytes) {
  const auto plain = bytes.cpu().contiguous();
  return {static_cast<const char*>(plain.const_data_ptr()), static_cast<std::size_t>(plain.numel())};
}

}  // namespace sparsify
