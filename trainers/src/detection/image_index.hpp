// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include "detection/image_header.hpp"

namespace sparsify::detection {

/// Tells one state of a file from another.
struct FileStamp {
  std::uint64_t bytes = 0;
  std::int64_t modified = 0;

  bool operator==(const FileStamp&) const = default;
};

/// Nothing where there is no such file.
std::optional<FileStamp> stamp_of(const std::filesystem::path& file);

/// Headers of image files, kept in a file so that images need not be read again when a set is opened again.
class ImageIndex {
 public:
  /// `place`: the index's file, or a folder for it; empty: where keep_in says.
  explicit ImageIndex(const std::filesystem::path& place);

  /// Sets the place, the folder of the labels, unless it is set already.
  void keep_in(const std::filesystem::path& folder);

  /// Nothing for a file that is not known or has another stamp now. May be called from several threads.
  std::optional<ImageHeader> find(const std::filesystem::path& image, const FileStamp& stamp) const;
  void add(const std::filesystem::path& image, const FileStamp& stamp, const ImageHeader& header);

  /// Writes what was added. A place that cannot be written to is no error: images are read again next time.
  void save() const;

 private:
  struct Entry {
    FileStamp stamp;
    ImageHeader header;
  };
  void load();

  std::filesystem::path file_;
  std::map<std::string, Entry> entries_;
  bool changed_ = false;
};

}  // namespace sparsify::detection
