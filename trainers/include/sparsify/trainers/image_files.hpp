// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace sparsify::trainers {

/// In small letters, with its dot.
std::string lower_extension(const std::filesystem::path& file);

/// Whether a name ends as those of images that can be decoded do.
bool has_image_extension(const std::filesystem::path& file);

/// By extension, in a folder and those below it, in order.
std::vector<std::filesystem::path> image_files_in(const std::filesystem::path& folder);

}  // namespace sparsify::trainers
