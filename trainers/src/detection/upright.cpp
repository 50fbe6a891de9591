// SPDX-License-Identifier: Apache-2.0
#include "detection/upright.hpp"

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

namespace sparsify::detection {

trainers::Image upright(trainers::Image image, int orientation) {
  if (orientation <= 1 || orientation > 8) return image;
  const bool turned = orientation > 4;
  const bool from_bottom = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  const bool from_right = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const auto height = turned ? image.width() : image.height();
  const auto width = turned ? image.height() : image.width();
  std::vector<std::uint8_t> rgb(static_cast<std::size_t>(height * width * 3));
  auto* out = rgb.data();
  for (std::int64_t y = 0; y < height; ++y)
    for (std::int64_t x = 0; x < width; ++x) {
      const auto row = turned ? x : y, column = turned ? y : x;
      const auto* pixel = image.pixel(from_bottom ? image.height() - 1 - row : row,
                                      from_right ? image.width() - 1 - column : column);
      out = std::copy_n(pixel, 3, out);
    }
  return {height, width, std::move(rgb)};
}

}  // namespace sparsify::detection
