// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>

namespace sparsify::weights {

/// The bytes of a file. Throws Error.
std::string read_whole(const std::filesystem::path& path);

}  // namespace sparsify::weights
