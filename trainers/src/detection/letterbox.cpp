// SPDX-License-Identifier: Apache-2.0
#include "sparsify/detection/letterbox.hpp"

#include <algorithm>
#include <cmath>

#include "detection/grey.hpp"

namespace sparsify::detection {
Placement placement_in(const ImageSize& image, std::int64_t height, std::int64_t width) {
  const double scale = std::min(static_cast<double>(height) / static_cast<double>(image.height),
                                static_cast<double>(width) / static_cast<double>(image.width));
  const auto across = std::max<std::int64_t>(1, std::llround(static_cast<double>(image.width) * scale));
  const auto down = std::max<std::int64_t>(1, std::llround(static_cast<double>(image.height) * scale));
  Placement placement;
  placement.image = image;
  placement.scale_x = static_cast<double>(across) / static_cast<double>(image.width);
  placement.scale_y = static_cast<double>(down) / static_cast<double>(image.height);
  placement.left = static_cast<double>((width - across) / 2);
  placement.top = static_cast<double>((height - down) / 2);
  return placement;
}

void letterbox(const trainers::Image& image, const Placement& placement, std::int64_t height,
               std::int64_t width, float* out) {
  const auto across = std::llround(placement.scale_x * static_cast<double>(placement.image.width)),
             down = std::llround(placement.scale_y * static_cast<double>(placement.image.height));
  const auto left = std::llround(placement.left), top = std::llround(placement.top);
  const auto resized = trainers::resize(image, {0, 0, image.height(), image.width()}, down, across);
  std::fill(out, out + height * width * 3, kGrey / 255.F);
  for (std::int64_t row = 0; row < down; ++row) {
    const auto* from = resized.pixel(row, 0);
    float* to = out + ((top + row) * width + left) * 3;
    for (std::int64_t i = 0; i < across * 3; ++i) to[i] = static_cast<float>(from[i]) / 255;
  }
}

Letterboxed letterboxed(const trainers::Image& image, std::int64_t side) {
  Letterboxed result;
  result.pixels = torch::empty({1, 3, side, side}, torch::MemoryFormat::ChannelsLast);
  result.placement = placement_in({image.height(), image.width()}, side, side);
  letterbox(image, result.placement, side, side, result.pixels.data_ptr<float>());
  return result;
}

std::vector<Detection> to_image(std::vector<Detection> found, const Placement& placement) {
  const auto back = [](float value, double start, double scale, std::int64_t size) {
    return std::clamp(static_cast<float>((value - start) / scale), 0.F, static_cast<float>(size));
  };
  for (auto& box : found) {
    box.x1 = back(box.x1, placement.left, placement.scale_x, placement.image.width);
    box.x2 = back(box.x2, placement.left, placement.scale_x, placement.image.width);
    box.y1 = back(box.y1, placement.top, placement.scale_y, placement.image.height);
    box.y2 = back(box.y2, placement.top, placement.scale_y, placement.image.height);
  }
  return found;
}

}  // namespace sparsify::detection
