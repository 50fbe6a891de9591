// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <filesystem>

#include <sparsify/error.hpp>
#include <sparsify/trainers/image_files.hpp>

#include "class_tree.hpp"
#include "sources.hpp"

namespace sparsify::trainers {
namespace {

namespace fs = std::filesystem;

class FolderDataset final : public Dataset {
 public:
  explicit FolderDataset(const ClassTree& tree) : Dataset(trainers::class_names(tree)) {
    int32_t label = 0;
    for (const auto& [name, images] : tree) {
      for (const auto& image : images) items_.push_back({image.name, label});
      ++label;
    }
  }

  int64_t size() const override { return static_cast<int64_t>(items_.size()); }
  int64_t label(int64_t index) const override { return item(index).label; }
  Image image(int64_t index, int64_t at_least) const override {
    return load_image(item(index).path, at_least);
  }
  std::string describe(int64_t index) const override { return item(index).path; }

 private:
  struct Item {
    std::string path;
    int32_t label;
  };
  const Item& item(int64_t index) const { return items_.at(static_cast<size_t>(index)); }

  std::vector<Item> items_;
};

std::vector<ListedImage> list_images(const fs::path& folder) {
  std::vector<ListedImage> images;
  auto follow = fs::directory_options::follow_directory_symlink;
  for (const auto& file : fs::recursive_directory_iterator(folder, follow)) {
    if (file.is_directory() || !is_image_name(file.path())) continue;
    // A link may lead nowhere: such a file counts as empty, and is reported.
    images.push_back(
        {file.path().string(), 0, file.is_regular_file() ? static_cast<size_t>(file.file_size()) : 0});
  }
  std::sort(images.begin(), images.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return images;
}

ClassTree list_classes(const fs::path& folder) {
  ClassTree tree;
  for (const auto& entry : fs::directory_iterator(folder)) {
    std::string name = entry.path().filename().string();
    if (entry.is_directory() && name.front() != '.') tree[name] = list_images(entry.path());
  }
  return tree;
}

}  // namespace

bool is_image_name(const fs::path& path) {
  if (path.filename().string().starts_with('.')) return false;
  return has_image_extension(path);
}

Datasets open_image_folder(const std::string& path, const DataOptions& options) {
  fs::path root(path);
  std::string val_name = fs::is_directory(root / "val") ? "val" : "test";
  try {
    ClassTree train = list_classes(root / "train");
    ClassTree val = list_classes(root / val_name);
    check_classes(path, train, val, val_name);
    Datasets sets;
    fs::path folder = root.has_filename() ? root : root.parent_path();
    sets.name = folder.filename().string();
    sets.train = std::make_shared<FolderDataset>(train);
    sets.val = std::make_shared<FolderDataset>(val);
    sets.image_size = options.image_size > 0 ? options.image_size : 224;
    sets.augmentation = sets.image_size > 64 ? Augmentation::large_images() : Augmentation::small_images();
    return sets;
  } catch (const fs::filesystem_error& error) {
    throw Error(path + ": cannot be listed: " + error.what());
  }
}

}  // namespace sparsify::trainers
