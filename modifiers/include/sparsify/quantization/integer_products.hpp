// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <unordered_map>
#include <utility>

#include "sparsify/graph/operators.hpp"
#include "sparsify/quantization/weights.hpp"

namespace sparsify {

/// A weighted call whose operands are integers: what makes its result real.
struct IntegerProduct {
  int layer = -1;     ///< of the plan; -1: the call is an ordinary one
  at::Tensor factor;  ///< float32, one per output channel
  at::Tensor bias;    ///< undefined: none

  explicit operator bool() const { return layer >= 0; }
};

/// x * factor + bias along a dimension, computed in float32, given in the type of x.
inline at::Tensor scale_product(const at::Tensor& x, const IntegerProduct& product,
                                std::int64_t channel_dim) {
  const auto shaped = [&](const at::Tensor& values) {
    return detail::along_channels(values, x.dim(), channel_dim);
  };
  auto real = x.mul(shaped(product.factor.to(x.device())));
  if (product.bias.defined()) real = real.add(shaped(product.bias.to(at::kFloat)));
  return real.to(x.scalar_type());
}

/// Results of such calls that nobody has scaled yet: the batch norm behind them will.
class UnscaledProducts {
 public:
  void add(const at::Tensor& result, const IntegerProduct& product) {
    entries_.insert_or_assign(result.unsafeGetTensorImpl(),
                              Entry{TensorOwner(result.getIntrusivePtr()), product});
  }
  bool has(const at::Tensor& tensor) const {
    return !entries_.empty() && entries_.count(tensor.unsafeGetTensorImpl()) > 0;
  }
  /// An ordinary call when the tensor is not one of them; forgets it.
  IntegerProduct take(const at::Tensor& tensor) {
    const auto found = entries_.find(tensor.unsafeGetTensorImpl());
    if (found == entries_.end()) return {};
    auto product = std::move(found->second.product);
    entries_.erase(found);
    return product;
  }

 private:
  struct Entry {
    TensorOwner owner;
    IntegerProduct product;
  };
  std::unordered_map<const c10::TensorImpl*, Entry> entries_;
};

}  // namespace sparsify
