// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "detection/image_index.hpp"
#include "sparsify/detection/dataset.hpp"

namespace sparsify::detection {

/// An image file and what its labels say.
struct ObjectFile {
  std::filesystem::path image;
  ImageSize size{};
  int orientation = 1;  ///< of the file's pixels, as EXIF numbers it
  std::vector<GroundTruth> objects{};
  std::optional<std::int64_t> id{};  ///< see DetectionDataset::image_id
};

/// What is found while a set is read: errors make it unusable, findings do not.
struct LabelReport {
  std::vector<std::string> errors{};
  std::vector<LabelFinding> findings{};

  /// Throws Error with all errors, the first twenty in full, unless there is none.
  void raise(const std::string& set) const;
};

/// A part of a set, "train" or "val", as its reader found it.
struct ObjectSplit {
  std::vector<ObjectFile> files{};
  std::vector<std::int64_t> category_ids{};  ///< by label, where they are others
  std::string source{};                      ///< where its images were looked for
  std::string layout{};                      ///< what is expected there
};

/// What a reader of one format makes of a specification.
struct ReadObjects {
  std::vector<std::string> class_names{};
  std::vector<std::int64_t> found_objects{};  ///< see DetectionDatasets::found_objects
  ObjectSplit train{}, val{};
  LabelReport report{};
};

/// How image files are looked at.
struct ImageReading {
  ImageIndex index;
  std::int64_t threads = 0;  ///< 0: all cores
};

/// Fills in the sizes of image files, from the index or their headers. Files that are missing become findings
/// and keep the size 0, broken ones become errors.
void read_sizes(std::vector<ObjectFile>& files, ImageReading& reading, LabelReport& report);

/// Tells where labels give an image another size than it has.
void check_claimed_size(const std::string& where, const ImageSize& claimed, const ImageSize& size,
                        LabelReport& report);

/// Clips boxes to the image, and leaves out empty and repeated ones; `where` says where an object is written.
std::vector<GroundTruth> cleaned(const std::vector<GroundTruth>& objects, const ImageSize& size,
                                 const std::function<std::string(std::size_t)>& where, LabelReport& report);

std::shared_ptr<const DetectionDataset> make_dataset(std::vector<std::string> class_names, ObjectSplit split);

// The readers, by format: see open_detection_datasets.
ReadObjects read_yolo_yaml(const std::filesystem::path& file, ImageReading& reading);
ReadObjects read_yolo_folder(const std::filesystem::path& folder, ImageReading& reading);
ReadObjects read_coco_folder(const std::filesystem::path& folder, ImageReading& reading);
/// `val`: names of the splits that are pooled for validation.
ReadObjects read_voc_folder(const std::filesystem::path& folder, const std::vector<std::string>& val,
                            ImageReading& reading);

}  // namespace sparsify::detection
