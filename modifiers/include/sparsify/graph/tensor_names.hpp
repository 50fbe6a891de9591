// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>

#include <unordered_map>
#include <unordered_set>

#include "sparsify/parameters.hpp"

namespace sparsify {

/// Finds the parameters and buffers of a model among the tensors that operators receive: by memory, because
/// C++ modules pass weights as views (`weight.t()`) too.
class TensorNames {
 public:
  TensorNames(const Parameters& parameters, const Parameters& buffers) {
    add(parameters, true);
    add(buffers, false);
  }

  struct Found {
    const Parameter* named = nullptr;  ///< null: not one of the model's tensors
    bool is_parameter = false;
    bool transposed = false;  ///< the 2-d parameter seen through `t()`
    explicit operator bool() const { return named != nullptr; }
  };

  Found find(const at::Tensor& tensor) const {
    if (!tensor.defined() || !tensor.has_storage() || tensor.numel() == 0) return {};
    const auto entry = entries_.find(tensor.const_data_ptr());
    if (entry == entries_.end()) return {};
    Found found = entry->second;
    const auto& whole = found.named->tensor;
    if (tensor.is_same(whole) || (tensor.sizes() == whole.sizes() && tensor.strides() == whole.strides()))
      return found;
    const bool flipped = whole.dim() == 2 && tensor.dim() == 2 && tensor.size(0) == whole.size(1) &&
                         tensor.size(1) == whole.size(0) && tensor.stride(0) == whole.stride(1) &&
                         tensor.stride(1) == whole.stride(0);
    if (!flipped) return {};
    found.transposed = true;
    return found;
  }

  /// Whether a tensor lies in the memory of a parameter or buffer.
  bool own(const at::Tensor& tensor) const {
    return tensor.has_storage() && storages_.count(tensor.storage().unsafeGetStorageImpl()) > 0;
  }

 private:
  void add(const Parameters& tensors, bool is_parameter) {
    for (const auto& named : tensors)
      if (named.tensor.defined() && named.tensor.has_storage() && named.tensor.numel() > 0) {
        entries_.emplace(named.tensor.const_data_ptr(), Found{&named, is_parameter, false});
        storages_.insert(named.tensor.storage().unsafeGetStorageImpl());
      }
  }

  std::unordered_map<const void*, Found> entries_;
  std::unordered_set<const void*> storages_;
};

}  // namespace sparsify
