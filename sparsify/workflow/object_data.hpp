// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <utility>

#include "sparsify/detection/detection_task.hpp"
#include "workflow/data_source.hpp"

namespace sparsify {

/// Images with objects in them, for what a detector gives.
class ObjectData : public DataSource {
 public:
  /// `stride`: the largest of the network, see detection::Detector.
  ObjectData(detection::DetectionDatasets set, detection::BoxReader reader, std::int64_t image_size,
             std::int64_t stride)
      : set_(std::move(set)), reader_(std::move(reader)), image_size_(image_size), stride_(stride) {}
  std::unique_ptr<detection::DetectionValidation> detection_validation(std::int64_t batch_size,
                                                                       std::int64_t workers,
                                                                       bool rectangular = false) const {
    return detection::detection_validation(set_.val, reader_, image_size_, batch_size, workers,
                                           rectangular ? stride_ : 0);
  }
  std::unique_ptr<Validation> validation(std::int64_t batch_size, std::int64_t workers) const override {
    return detection_validation(batch_size, workers);
  }
  std::unique_ptr<CalibrationImages> calibration_images(std::int64_t batch_size,
                                                        std::int64_t workers) const override {
    return detection::calibration_images(set_.train, image_size_, batch_size, workers);
  }

  const detection::DetectionDataset& images() const { return *set_.val; }  ///< for validation
  const detection::BoxReader& reader() const { return reader_; }

 private:
  detection::DetectionDatasets set_;
  detection::BoxReader reader_;
  std::int64_t image_size_, stride_;
};

/// The same data where it is a detector's, else null.
inline std::shared_ptr<const ObjectData> as_objects(const std::shared_ptr<const DataSource>& data) {
  return std::dynamic_pointer_cast<const ObjectData>(data);
}

}  // namespace sparsify
