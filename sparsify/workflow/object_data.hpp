// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <utility>
#include <vector>

#include "sparsify/detection/detection_task.hpp"
#include "workflow/data_source.hpp"

namespace sparsify {

/// Images with objects in them, for a detector with these heads.
class ObjectData : public DataSource {
 public:
  ObjectData(detection::DetectionDatasets set, std::vector<detection::DetectionHead> heads,
             std::int64_t image_size)
      : set_(std::move(set)), heads_(std::move(heads)), image_size_(image_size) {}
  std::unique_ptr<detection::DetectionValidation> detection_validation(std::int64_t batch_size,
                                                                       std::int64_t workers) const {
    return detection::detection_validation(set_.val, heads_, image_size_, batch_size, workers);
  }
  std::unique_ptr<Validation> validation(std::int64_t batch_size, std::int64_t workers) const override {
    return detection_validation(batch_size, workers);
  }
  std::unique_ptr<CalibrationImages> calibration_images(std::int64_t batch_size,
                                                        std::int64_t workers) const override {
    return detection::calibration_images(set_.train, image_size_, batch_size, workers);
  }

  const detection::DetectionDataset& images() const { return *set_.val; }  ///< for validation
  const std::vector<detection::DetectionHead>& heads() const { return heads_; }

 private:
  detection::DetectionDatasets set_;
  std::vector<detection::DetectionHead> heads_;
  std::int64_t image_size_;
};

}  // namespace sparsify
