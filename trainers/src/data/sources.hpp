// SPDX-License-Identifier: Apache-2.0
// What open_datasets chooses between.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <sparsify/trainers/dataset.hpp>

namespace sparsify::trainers {

/// Decoded images, one after the other in memory.
class MemoryDataset final : public Dataset {
 public:
  struct Item {
    int64_t offset = 0;  ///< into the pixels
    int32_t height = 0;
    int32_t width = 0;
    int32_t label = 0;
  };
  /// `source` names the set in descriptions; `names` may be empty.
  MemoryDataset(std::string source, std::vector<std::string> class_names, std::vector<Item> items,
                std::vector<uint8_t> pixels, std::vector<std::string> names = {});

  int64_t size() const override { return static_cast<int64_t>(items_.size()); }
  int64_t label(int64_t index) const override { return items_.at(static_cast<size_t>(index)).label; }
  Image image(int64_t index, int64_t at_least) const override;
  std::string describe(int64_t index) const override;

 private:
  std::string source_;
  std::vector<Item> items_;
  std::vector<uint8_t> pixels_;
  std::vector<std::string> names_;
};

/// A file read into memory out of an archive.
struct ArchiveEntry {
  std::string path;
  size_t offset = 0;
  size_t size = 0;
};

/// An archive's regular files, uncompressed, back to back.
struct ArchiveFiles {
  std::string name;
  std::vector<std::byte> bytes;
  std::vector<ArchiveEntry> entries;

  std::span<const std::byte> content(const ArchiveEntry& entry) const {
    return {bytes.data() + entry.offset, entry.size};
  }
};

bool is_image_name(const std::filesystem::path& path);

/// Reads every regular file of a .tar, .tar.gz or .tgz.
std::shared_ptr<const ArchiveFiles> read_archive(const std::string& path);
/// Reads the .bin and .txt files of a folder.
std::shared_ptr<const ArchiveFiles> read_cifar_folder(const std::string& path);

Datasets open_image_folder(const std::string& path, const DataOptions& options);
Datasets open_image_archive(const std::shared_ptr<const ArchiveFiles>& archive, const DataOptions& options);

bool holds_cifar(const ArchiveFiles& files);
Datasets open_cifar(const ArchiveFiles& files, const DataOptions& options);

/// `parameters`: what follows "generated:", as in "train=1000,seed=3".
Datasets open_generated(const std::string& parameters, const DataOptions& options);

}  // namespace sparsify::trainers
