// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "sparsify/trainers/model.hpp"

namespace sparsify::models {

/// One linear layer on the flattened pixels: the yardstick for how hard a data set is.
class LinearClassifier : public Model {
 public:
  LinearClassifier(int64_t image_size, const ModelOptions& options) {
    const int64_t pixels = options.in_channels * image_size * image_size;
    fc_ = register_module("fc", torch::nn::Linear(pixels, options.num_classes));
  }
  torch::Tensor forward(torch::Tensor images) override { return fc_(images.flatten(1)); }

 private:
  torch::nn::Linear fc_{nullptr};
};

}  // namespace sparsify::models
