// SPDX-License-Identifier: Apache-2.0
#include "detection/canvas.hpp"

#include <algorithm>
#include <utility>

#include "detection/letters.hpp"

namespace sparsify::detection {

Canvas::Canvas(std::int64_t height, std::int64_t width, Colour background)
    : height_(height), width_(width), pixels_(static_cast<std::size_t>(height * width * 3)) {
  fill({0, 0, width, height}, background);
}

Canvas::Canvas(const trainers::Image& image)
    : height_(image.height()),
      width_(image.width()),
      pixels_(image.rgb(), image.rgb() + image.height() * image.width() * 3) {}

void Canvas::fill(const Rectangle& area, Colour colour) {
  const auto left = std::max<std::int64_t>(area.left, 0), right = std::min(area.right, width_);
  const auto top = std::max<std::int64_t>(area.top, 0), bottom = std::min(area.bottom, height_);
  for (auto y = top; y < bottom; ++y)
    for (auto x = left; x < right; ++x)
      std::copy(colour.begin(), colour.end(), pixels_.begin() + (y * width_ + x) * 3);
}

void Canvas::outline(const Rectangle& area, std::int64_t line_width, Colour colour) {
  const auto [left, top, right, bottom] = area;
  const auto across = std::min(line_width, right - left), down = std::min(line_width, bottom - top);
  fill({left, top, right, top + down}, colour);
  fill({left, bottom - down, right, bottom}, colour);
  fill({left, top, left + across, bottom}, colour);
  fill({right - across, top, right, bottom}, colour);
}

void Canvas::write(const std::string& text, std::int64_t left, std::int64_t top, std::int64_t scale,
                   Colour colour) {
  for (const auto& stroke : strokes_of(text))
    fill({left + stroke.left * scale, top + stroke.top * scale, left + stroke.right * scale,
          top + stroke.bottom * scale},
         colour);
}

void Canvas::paste(const trainers::Image& image, std::int64_t left, std::int64_t top) {
  for (std::int64_t y = 0; y < image.height(); ++y)
    for (std::int64_t x = 0; x < image.width(); ++x) {
      const auto* pixel = image.pixel(y, x);
      fill({left + x, top + y, left + x + 1, top + y + 1}, {pixel[0], pixel[1], pixel[2]});
    }
}

trainers::Image Canvas::finish() {
  return {std::exchange(height_, 0), std::exchange(width_, 0), std::move(pixels_)};
}

}  // namespace sparsify::detection
