// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <torch/torch.h>

#include <filesystem>
#include <vector>

#include "sparsify/detection/boxes.hpp"
#include "sparsify/trainers/image.hpp"

namespace sparsify::detection {

/// An image file as EXIF wants it shown. Throws Error naming the file when it cannot be read.
trainers::Image load_upright(const std::filesystem::path& file);

/// The whole image stretched to height x width (bilinear, antialiased): [1, 3, height, width],
/// RGB from 0 to 1.
torch::Tensor stretched(const trainers::Image& image, std::int64_t height, std::int64_t width);

/// Boxes in pixels of an input of height x width, back in pixels of the image that was stretched to it.
std::vector<Detection> unstretched(std::vector<Detection> found, const trainers::Image& image,
                                   std::int64_t height, std::int64_t width);

}  // namespace sparsify::detection
