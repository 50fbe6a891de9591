// SPDX-License-Identifier: Apache-2.0
#include "picture_paths.hpp"

#include <algorithm>
#include <map>
#include <set>

#include "sparsify/trainers/image_files.hpp"
#include "workflow/input_error.hpp"

namespace sparsify {
namespace {

namespace fs = std::filesystem;

// One name for each file, whatever links lead to it and whether it is there.
fs::path real_path(const fs::path& path) {
  std::error_code error;
  const auto absolute = fs::absolute(path);
  const auto found = fs::weakly_canonical(absolute, error);
  return error ? absolute.lexically_normal() : found;
}

std::set<fs::path> canonical_paths(const std::vector<fs::path>& files) {
  std::set<fs::path> paths;
  for (const auto& file : files) paths.insert(real_path(file));
  return paths;
}

bool lies_within(const fs::path& path, const fs::path& folder) {
  return std::mismatch(folder.begin(), folder.end(), path.begin(), path.end()).first == folder.end();
}

bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(fs::symlink_status(path, ignored));  // false where nobody may look
}

/// Gives out names in a folder.
class FreeNames {
 public:
  explicit FreeNames(fs::path folder) : folder_(std::move(folder)) {}

  // a.jpg, a-2.jpg, a-3.jpg ...; the images are there, so that none of them is written over
  fs::path of(const fs::path& image) {
    const auto stem = image.stem().string(),
               ending = std::string(image.extension() == ".png" ? ".png" : ".jpg");
    for (auto& number = next_.try_emplace(stem + ending, 1).first->second;; ++number) {
      const auto name = stem + (number == 1 ? "" : "-" + std::to_string(number)) + ending;
      auto path = folder_ / name;
      if (!is_there(path) && given_.insert(name).second) return path;
    }
  }

 private:
  const fs::path folder_;
  std::set<std::string> given_{};
  std::map<std::string, int> next_{};  ///< by name; smaller numbers are taken
};

}  // namespace

std::vector<fs::path> images_below(const fs::path& folder, const fs::path& output) {
  auto images = trainers::image_files_in(folder);
  if (output.empty()) return images;
  const auto searched = real_path(folder), left_out = real_path(output);
  if (searched == left_out || !lies_within(left_out, searched)) return images;
  const auto is_left_out = [&](const fs::path& image) {
    return lies_within(real_path(image.parent_path()), left_out);
  };
  images.erase(std::remove_if(images.begin(), images.end(), is_left_out), images.end());
  return images;
}

std::vector<fs::path> picture_paths(const std::vector<fs::path>& images, const fs::path& folder) {
  FreeNames names(folder);
  std::vector<fs::path> paths;
  for (const auto& image : images) paths.push_back(names.of(image));
  return paths;
}

void refuse_image(const std::string& file, const std::string& flag, const std::vector<fs::path>& images) {
  if (!file.empty() && canonical_paths(images).count(real_path(file)))
    throw InputError(flag + " " + file + ": is one of the images; expected a file of its own");
}

}  // namespace sparsify
