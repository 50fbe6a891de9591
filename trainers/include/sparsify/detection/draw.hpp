// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "sparsify/detection/average_precision.hpp"
#include "sparsify/detection/boxes.hpp"
#include "sparsify/trainers/image.hpp"

namespace sparsify::detection {

using Colour = std::array<std::uint8_t, 3>;  ///< red, green, blue

/// A bright colour; neighbouring classes have colours that differ much.
Colour class_colour(std::int64_t label);

struct DrawOptions {
  std::int64_t line_width = 0;  ///< in pixels; 0: by the image's size
  std::int64_t text_scale = 0;  ///< letters are 7 times as many pixels high; 0: by the image's size
  bool labels = true;           ///< "name 0.87" at the upper left corner of each box
};

/// A copy of the image with boxes, whose lines lie inside them, the first ones on top. A class without a name
/// is written as its number, a letter beyond ASCII as '?'. Boxes are clipped to the image.
trainers::Image draw_boxes(const trainers::Image& image, const std::vector<Detection>& found,
                           const std::vector<std::string>& class_names, const DrawOptions& options = {});

/// The same with labels "name".
trainers::Image draw_boxes(const trainers::Image& image, const std::vector<GroundTruth>& objects,
                           const std::vector<std::string>& class_names, const DrawOptions& options = {});

/// Images in rows of `columns`, each scaled to fit into a cell of cell x cell pixels, with its shape, in the
/// cell's middle; what is left is grey. Throws Error for no images and sizes below 1.
trainers::Image picture_grid(const std::vector<trainers::Image>& images, std::int64_t columns,
                             std::int64_t cell);

/// Writes a PNG or, with quality 90, a JPEG, as the path ends (.png, .jpg, .jpeg), in one step. Throws Error
/// for another ending, for an empty image, and when it cannot be written; the file is as before then.
void write_image(const trainers::Image& image, const std::filesystem::path& path);

}  // namespace sparsify::detection
