// SPDX-License-Identifier: Apache-2.0
// CIFAR-10/100, binary version (Krizhevsky 2009): records of one (CIFAR-100: two) label bytes and 3 x 32 x 32
// planes.
#include <algorithm>
#include <filesystem>
#include <utility>

#include <sparsify/error.hpp>

#include "sources.hpp"

namespace sparsify::trainers {
namespace {

constexpr int64_t kPlane = 32 * 32;
constexpr int64_t kImage = 3 * kPlane;

struct Layout {
  int64_t label_bytes;  ///< the class is the last of them
  int64_t classes;
  std::vector<std::string> train;
  std::string test;
  std::string names;
};

Layout layout_of(bool hundred) {
  if (hundred) return {2, 100, {"train.bin"}, "test.bin", "fine_label_names.txt"};
  return {
      1,
      10,
      {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"},
      "test_batch.bin",
      "batches.meta.txt"};
}

const ArchiveEntry* find(const ArchiveFiles& files, const std::string& name) {
  for (const auto& entry : files.entries)
    if (std::filesystem::path(entry.path).filename() == name) return &entry;
  return nullptr;
}

std::vector<std::string> read_names(const ArchiveFiles& files, const Layout& layout) {
  std::vector<std::string> names;
  if (const auto* entry = find(files, layout.names)) {
    std::string line;
    for (std::byte byte : files.content(*entry)) {
      auto c = static_cast<char>(byte);
      if (c != '\n' && c != '\r') {
        line += c;
      } else if (!line.empty()) {
        names.push_back(std::exchange(line, {}));
      }
    }
    if (!line.empty()) names.push_back(line);
    if (static_cast<int64_t>(names.size()) != layout.classes)
      throw Error(files.name + ": " + entry->path + " lists " + std::to_string(names.size()) +
                  " classes; expected " + std::to_string(layout.classes));
  } else {
    for (int64_t i = 0; i < layout.classes; ++i) names.push_back(std::to_string(i));
  }
  return names;
}

class Records {
 public:
  explicit Records(const Layout& layout) : layout_(layout) {}

  void append(const std::string& name, std::span<const std::byte> bytes) {
    const int64_t record = layout_.label_bytes + kImage;
    auto size = static_cast<int64_t>(bytes.size());
    if (size == 0 || size % record != 0)
      throw Error(name + ": " + std::to_string(size) + " bytes; expected a multiple of " +
                  std::to_string(record));
    const auto* data = reinterpret_cast<const uint8_t*>(bytes.data());
    for (int64_t i = 0; i < size / record; ++i, data += record) {
      int32_t label = data[layout_.label_bytes - 1];
      if (label >= layout_.classes)
        throw Error(name + ": record " + std::to_string(i) + " has class " + std::to_string(label) +
                    "; expected 0 to " + std::to_string(layout_.classes - 1));
      append_image(data + layout_.label_bytes, label);
    }
  }

  std::shared_ptr<const Dataset> finish(const std::string& source,
                                        const std::vector<std::string>& class_names) {
    return std::make_shared<MemoryDataset>(source, class_names, std::move(items_), std::move(pixels_));
  }

 private:
  void append_image(const uint8_t* planes, int32_t label) {
    auto offset = static_cast<int64_t>(pixels_.size());
    items_.push_back({offset, 32, 32, label});
    pixels_.resize(pixels_.size() + kImage);
    uint8_t* output = pixels_.data() + offset;
    for (int64_t i = 0; i < kPlane; ++i)
      for (int64_t c = 0; c < 3; ++c) output[i * 3 + c] = planes[c * kPlane + i];
  }

  const Layout& layout_;
  std::vector<MemoryDataset::Item> items_;
  std::vector<uint8_t> pixels_;
};

std::shared_ptr<const Dataset> read(const ArchiveFiles& files, const Layout& layout,
                                    const std::vector<std::string>& parts,
                                    const std::vector<std::string>& names) {
  Records records(layout);
  for (const auto& part : parts) {
    const auto* entry = find(files, part);
    if (!entry) throw Error(files.name + ": CIFAR's " + part + " is missing");
    records.append(files.name + ": " + entry->path, files.content(*entry));
  }
  return records.finish(files.name, names);
}

}  // namespace

bool holds_cifar(const ArchiveFiles& files) {
  return find(files, "data_batch_1.bin") != nullptr || find(files, "train.bin") != nullptr;
}

Datasets open_cifar(const ArchiveFiles& files, const DataOptions& options) {
  Layout layout = layout_of(find(files, "train.bin") != nullptr);
  auto names = read_names(files, layout);
  Datasets sets;
  sets.name = layout.classes == 100 ? "cifar100" : "cifar10";
  sets.train = read(files, layout, layout.train, names);
  sets.val = read(files, layout, {layout.test}, names);
  sets.image_size = options.image_size > 0 ? options.image_size : 32;
  sets.augmentation = Augmentation::small_images();
  return sets;
}

}  // namespace sparsify::trainers
