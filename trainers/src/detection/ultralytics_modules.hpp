// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "detection/blocks.hpp"
#include "detection/feature.hpp"
#include "detection/ultralytics_config.hpp"

namespace sparsify::detection {

/// What all rows of a model have in common.
struct ModelSettings {
  std::int64_t classes = 80;
  double depth_multiple = 1, width_multiple = 1;
  Activation activation = Activation::kSilu;
  std::vector<Anchors> anchors;
};

struct Made {
  std::shared_ptr<Block> block;
  Feature output;
};

/// The block that a row of a model file describes; `inputs`: what it reads. Throws Error naming the place.
Made make_module(const ModelRow& row, const ModelSettings& settings, const std::vector<Feature>& inputs);

}  // namespace sparsify::detection
