// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>

#include "sparsify/state_dict.hpp"

namespace sparsify::weights {

StateDict read_safetensors(const std::filesystem::path& path);

}  // namespace sparsify::weights
