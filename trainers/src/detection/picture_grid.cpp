// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "detection/canvas.hpp"
#include "detection/grey.hpp"
#include "sparsify/detection/draw.hpp"
#include "sparsify/error.hpp"

namespace sparsify::detection {
namespace {

Rectangle fitting(const trainers::Image& image, std::int64_t cell) {
  const auto longer = std::max(image.height(), image.width());
  const auto scaled = [&](std::int64_t side) { return std::max<std::int64_t>(1, side * cell / longer); };
  const auto height = scaled(image.height()), width = scaled(image.width());
  const auto left = (cell - width) / 2, top = (cell - height) / 2;
  return {left, top, left + width, top + height};
}

}  // namespace

trainers::Image picture_grid(const std::vector<trainers::Image>& images, std::int64_t columns,
                             std::int64_t cell) {
  if (images.empty() || columns < 1 || cell < 1)
    throw Error("a grid takes at least one image, column and pixel; got " + std::to_string(images.size()) +
                " images in " + std::to_string(columns) + " columns of " + std::to_string(cell) + " pixels");
  const auto count = static_cast<std::int64_t>(images.size());
  columns = std::min(columns, count);
  Canvas canvas((count + columns - 1) / columns * cell, columns * cell, {kGrey, kGrey, kGrey});
  for (std::int64_t i = 0; i < count; ++i) {
    const auto& image = images[static_cast<std::size_t>(i)];
    if (image.height() < 1 || image.width() < 1) continue;
    const auto place = fitting(image, cell);
    const auto scaled = trainers::resize(image, {0, 0, image.height(), image.width()},
                                         place.bottom - place.top, place.right - place.left);
    canvas.paste(scaled, i % columns * cell + place.left, i / columns * cell + place.top);
  }
  return canvas.finish();
}

}  // namespace sparsify::detection
