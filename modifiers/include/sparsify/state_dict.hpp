// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <string>

namespace sparsify {

/// Tensors by full name ("layer1.0.conv1.weight"): a model's parameters and buffers, or a session's masks.
using StateDict = std::map<std::string, at::Tensor>;

}  // namespace sparsify
