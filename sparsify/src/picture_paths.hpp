// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace sparsify {

/// The images of a folder and those below it, without those in `output` where that lies inside: these are
/// pictures of an earlier call.
std::vector<std::filesystem::path> images_below(const std::filesystem::path& folder,
                                                const std::filesystem::path& output);

/// Where the picture of each image goes: a name of its own in `folder`, and one that nothing has there yet,
/// be it one of the images.
std::vector<std::filesystem::path> picture_paths(const std::vector<std::filesystem::path>& images,
                                                 const std::filesystem::path& folder);

/// Throws InputError where the file that `flag` names is one of the images. Empty: nothing is wanted.
void refuse_image(const std::string& file, const std::string& flag,
                  const std::vector<std::filesystem::path>& images);

}  // namespace sparsify
