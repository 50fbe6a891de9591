// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <atomic>
#include <filesystem>
#include <utility>

#include <sparsify/error.hpp>

#include "class_tree.hpp"
#include "parallel.hpp"
#include "sources.hpp"

namespace sparsify::trainers {
namespace {

namespace fs = std::filesystem;

struct Listed {
  std::vector<ListedImage> images;
  std::vector<int32_t> labels;
};

Listed flatten(const ClassTree& tree) {
  Listed listed;
  int32_t label = 0;
  for (const auto& [name, images] : tree) {
    listed.images.insert(listed.images.end(), images.begin(), images.end());
    listed.labels.insert(listed.labels.end(), images.size(), label++);
  }
  return listed;
}

/// Images that stay compressed in memory.
class CompressedDataset final : public Dataset {
 public:
  CompressedDataset(std::shared_ptr<const ArchiveFiles> archive, const ClassTree& tree)
      : Dataset(trainers::class_names(tree)), archive_(std::move(archive)), listed_(flatten(tree)) {}

  int64_t size() const override { return static_cast<int64_t>(listed_.images.size()); }
  int64_t label(int64_t index) const override { return listed_.labels.at(static_cast<size_t>(index)); }
  std::string describe(int64_t index) const override {
    return archive_->name + ": " + listed_.images.at(static_cast<size_t>(index)).name;
  }
  Image image(int64_t index, int64_t at_least) const override {
    const auto& entry = archive_->entries[listed_.images.at(static_cast<size_t>(index)).entry];
    return decode_image(archive_->content(entry), describe(index), at_least);
  }

 private:
  std::shared_ptr<const ArchiveFiles> archive_;
  Listed listed_;
};

// Equal images, as small sets have, are kept decoded; others stay compressed and are decoded when asked for.
std::shared_ptr<const Dataset> decoded(const std::shared_ptr<const ArchiveFiles>& archive,
                                       const ClassTree& tree, const DataOptions& options) {
  auto compressed = std::make_shared<CompressedDataset>(archive, tree);
  Image first = compressed->image(0, 0);
  const int64_t bytes_each = first.height() * first.width() * 3;
  if (bytes_each * compressed->size() > options.memory_limit) return compressed;
  std::vector<uint8_t> pixels(static_cast<size_t>(bytes_each * compressed->size()));
  std::vector<MemoryDataset::Item> items(static_cast<size_t>(compressed->size()));
  std::atomic<bool> all_equal{true};
  for_each_index(compressed->size(), options.threads, [&](int64_t i) {
    if (!all_equal) return;
    Image image = compressed->image(i, 0);
    if (image.height() != first.height() || image.width() != first.width()) {
      all_equal = false;
      return;
    }
    std::copy_n(image.rgb(), bytes_each, pixels.begin() + i * bytes_each);
    items[static_cast<size_t>(i)] = {i * bytes_each, static_cast<int32_t>(first.height()),
                                     static_cast<int32_t>(first.width()),
                                     static_cast<int32_t>(compressed->label(i))};
  });
  if (!all_equal) return compressed;
  std::vector<std::string> names;
  for (const auto& image : flatten(tree).images) names.push_back(image.name);
  return std::make_shared<MemoryDataset>(archive->name, compressed->class_names(), std::move(items),
                                         std::move(pixels), std::move(names));
}

// The parts of a path from the last folder called train, val or test: {"train", "cat", "1.jpg"}; or nothing.
std::vector<std::string> split_class_name(const std::string& path) {
  std::vector<std::string> parts;
  for (const auto& part : fs::path(path)) parts.push_back(part.string());
  for (size_t i = 0; i + 2 < parts.size(); ++i)
    if (parts[i] == "train" || parts[i] == "val" || parts[i] == "test")
      return {parts.begin() + static_cast<std::ptrdiff_t>(i), parts.end()};
  return {};
}

}  // namespace

Datasets open_image_archive(const std::shared_ptr<const ArchiveFiles>& archive, const DataOptions& options) {
  std::map<std::string, ClassTree> parts;
  for (size_t i = 0; i < archive->entries.size(); ++i) {
    const auto& entry = archive->entries[i];
    auto path = split_class_name(entry.path);
    if (!path.empty() && is_image_name(entry.path))
      parts[path[0]][path[1]].push_back({entry.path, i, entry.size});
  }
  std::string val_name = parts.contains("val") ? "val" : "test";
  if (!parts.contains("train") || !parts.contains(val_name))
    throw Error(archive->name + ": archive of " + std::to_string(archive->entries.size()) +
                " files without an image set: looked for train/<class>/* and val/<class>/* or test/<class>/* "
                "(.jpg, .jpeg, .png, .bmp), and for CIFAR's data_batch_1.bin or train.bin");
  for (auto& [part, tree] : parts)
    for (auto& [name, images] : tree)
      std::sort(images.begin(), images.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  check_classes(archive->name, parts["train"], parts[val_name], val_name);
  Datasets sets;
  sets.name = fs::path(archive->name).filename().string();
  sets.name = sets.name.substr(0, sets.name.find(".t"));
  sets.train = decoded(archive, parts["train"], options);
  sets.val = decoded(archive, parts[val_name], options);
  Image first = sets.train->image(0);
  bool square = first.height() == first.width() && first.height() <= 64;
  sets.image_size = options.image_size > 0 ? options.image_size : square ? first.height() : 224;
  sets.augmentation = sets.image_size > 64 ? Augmentation::large_images() : Augmentation::small_images();
  return sets;
}

}  // namespace sparsify::trainers
