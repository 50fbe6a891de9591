// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "sparsify/state_dict.hpp"

namespace sparsify::weights {

/// The state dict in the content of a PyTorch file; `name` is for messages. See read_weights.
StateDict read_torch_file(std::string_view content, const std::string& name);

}  // namespace sparsify::weights
