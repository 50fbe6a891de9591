// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <vector>

#include "sparsify/detection/boxes.hpp"
#include "sparsify/detection/dataset.hpp"
#include "sparsify/trainers/atomic_file.hpp"

namespace sparsify {

/// What a detector found, written as COCO's results: image_id, category_id, bbox (x, y, width, height in
/// pixels of the image), score. Images and categories have COCO's numbers where the set knows them. Otherwise
/// a category is the class's index, and an image its file's stem, as Ultralytics writes it: a number where
/// all stems are numbers, and the whole path where stems repeat.
class CocoResults {
 public:
  /// Throws Error when the file cannot be made; it is there after `finish`.
  CocoResults(const std::filesystem::path& file, const detection::DetectionDataset& data);

  void add(std::int64_t image, const std::vector<detection::Detection>& found);
  void finish();

 private:
  const detection::DetectionDataset& data_;  ///< outlives this
  std::vector<nlohmann::json> image_ids_;
  AtomicFile file_;
  bool is_first_ = true;
};

/// The set's objects as COCO annotations: all that is judged, no crowds, boxes clipped to their images; the
/// same numbers.
nlohmann::json coco_ground_truth(const detection::DetectionDataset& data);

}  // namespace sparsify
