// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "sparsify/trainers/classification.hpp"
#include "workflow/data_source.hpp"

namespace sparsify {

/// Images with one label each.
class ImageData : public DataSource {
 public:
  explicit ImageData(trainers::Datasets set) : set_(std::move(set)) {}
  std::unique_ptr<Validation> validation(std::int64_t batch_size, std::int64_t workers) const override {
    return classification_validation(set_, batch_size, workers);
  }
  std::unique_ptr<CalibrationImages> calibration_images(std::int64_t batch_size,
                                                        std::int64_t workers) const override {
    return sparsify::calibration_images(set_, batch_size, workers);
  }

 private:
  trainers::Datasets set_;
};

/// Opens labelled images for a classifier's card; see open_data_for.
trainers::Datasets open_images_for(const ModelCard& card, const std::string& spec);

}  // namespace sparsify
