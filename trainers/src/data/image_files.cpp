// SPDX-License-Identifier: Apache-2.0
#include <sparsify/trainers/image_files.hpp>

#include <algorithm>
#include <cctype>

namespace sparsify::trainers {

std::string lower_extension(const std::filesystem::path& file) {
  auto extension = file.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return extension;
}

bool has_image_extension(const std::filesystem::path& file) {
  const auto extension = lower_extension(file);
  return extension == ".jpg" || extension == ".jpeg" || extension == ".png" || extension == ".bmp";
}

std::vector<std::filesystem::path> image_files_in(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> found;
  for (const auto& file : std::filesystem::recursive_directory_iterator(folder))
    if (has_image_extension(file.path()) && file.is_regular_file()) found.push_back(file.path());
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace sparsify::trainers
