// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <vector>

#include "sparsify/detection/boxes.hpp"
#include "sparsify/detection/dataset.hpp"

namespace sparsify::detection {

/// Where an image lies in the network's input: x of the input = x of the image * scale_x + left.
struct Placement {
  double scale_x = 1, scale_y = 1, left = 0, top = 0;
  ImageSize image;  ///< the whole image
};

/// The largest size, with the image's shape, that fits into height x width pixels, in the middle.
Placement placement_in(const ImageSize& image, std::int64_t height, std::int64_t width);

/// Writes height * width * 3 floats (NHWC order, from 0 to 1): the image as placed, on grey (114 / 255).
/// `image` may be smaller than the whole one.
void letterbox(const trainers::Image& image, const Placement& placement, std::int64_t height,
               std::int64_t width, float* out);

struct Letterboxed {
  torch::Tensor pixels;  ///< [1, 3, side, side] float32 RGB from 0 to 1
  Placement placement;
};

/// A whole image in a square.
Letterboxed letterboxed(const trainers::Image& image, std::int64_t side);

/// Boxes in pixels of the network's input, back in pixels of the image and clipped to it.
std::vector<Detection> to_image(std::vector<Detection> found, const Placement& placement);

}  // namespace sparsify::detection
