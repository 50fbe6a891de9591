// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <compare>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "sparsify/detection/average_precision.hpp"
#include "sparsify/trainers/image.hpp"

namespace sparsify::detection {

struct ImageSize {
  std::int64_t height = 0, width = 0;
};

/// Images and the objects in them. Every const member may be called from several threads at once.
class DetectionDataset {
 public:
  explicit DetectionDataset(std::vector<std::string> class_names) : class_names_(std::move(class_names)) {}
  virtual ~DetectionDataset() = default;
  DetectionDataset(const DetectionDataset&) = delete;
  DetectionDataset& operator=(const DetectionDataset&) = delete;

  virtual std::int64_t size() const = 0;
  /// Of the whole image, upright.
  virtual ImageSize image_size(std::int64_t index) const = 0;
  /// Upright pixels. `at_least` allows a reduced size: see trainers::decode_image. Throws DataError naming
  /// the file when it cannot be read.
  virtual trainers::Image image(std::int64_t index, std::int64_t at_least = 0) const = 0;
  /// In pixels of the whole image.
  virtual const std::vector<GroundTruth>& objects(std::int64_t index) const = 0;
  /// Where the image comes from.
  virtual std::string describe(std::int64_t index) const = 0;
  /// The number that the set gives the image; nothing where it numbers none (all but COCO).
  virtual std::optional<std::int64_t> image_id(std::int64_t /*index*/) const { return std::nullopt; }
  /// The number that the set gives a class: of COCO its category's, else the label itself.
  virtual std::int64_t category_id(std::int64_t label) const { return label; }

  const std::vector<std::string>& class_names() const { return class_names_; }
  std::int64_t classes() const { return static_cast<std::int64_t>(class_names_.size()); }

 private:
  std::vector<std::string> class_names_;
};

/// Something that is strange about a set but does not stop it from being used.
struct LabelFinding {
  std::string where;  ///< file, and line where there is one
  std::string what;   ///< "box outside the image: clipped"

  auto operator<=>(const LabelFinding&) const = default;
};

struct DetectionDatasets {
  std::string name;
  std::shared_ptr<const DetectionDataset> train, val;
  std::vector<LabelFinding> findings;
  /// Of each class, in all annotations that are there, where these alone say which classes there are (Pascal
  /// VOC); else empty.
  std::vector<std::int64_t> found_objects{};
};

struct DetectionDataOptions {
  /// File or folder of an index of the images' sizes, which spares reading the images again; empty:
  /// sparsify.index beside the labels. A place that cannot be written to is no error.
  std::filesystem::path cache{};
  std::int64_t threads = 0;  ///< for reading; 0: all cores
};

/// Opens a set by its specification:
/// - an Ultralytics `data.yaml` (path, train, val, test, names, nc), or a folder that holds one or has
///   images/ and labels/ with train and val parts;
/// - a COCO folder with annotations/instances_train*.json and instances_val*.json;
/// - a Pascal VOC folder with JPEGImages/, Annotations/ and ImageSets/Main/{train,val,test}.txt;
///   `folder:val=val+test` validates on both.
/// Throws Error listing everything that makes it unusable (with file and line), and for an empty set.
DetectionDatasets open_detection_datasets(const std::string& spec, const DetectionDataOptions& options = {});

}  // namespace sparsify::detection
