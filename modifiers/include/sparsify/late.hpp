// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace sparsify {
namespace detail {

// Names LibTorch's types only when a template is instantiated: our headers need not include torch/optim.h or
// torch/nn.h, the user's source file, which owns an optimizer and a model, already has.
template <class T, class>
struct Late {
  using type = T;
};

}  // namespace detail
}  // namespace sparsify
