// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sparsify/detection/draw.hpp"

namespace sparsify::detection {

/// Pixels from left to right - 1 and from top to bottom - 1.
struct Rectangle {
  std::int64_t left = 0, top = 0, right = 0, bottom = 0;
};

/// An image that is being drawn. What lies outside of it is left out.
class Canvas {
 public:
  Canvas(std::int64_t height, std::int64_t width, Colour background);
  explicit Canvas(const trainers::Image& image);

  std::int64_t height() const { return height_; }
  std::int64_t width() const { return width_; }

  void fill(const Rectangle& area, Colour colour);
  /// The `line_width` outermost pixels of the area on each side.
  void outline(const Rectangle& area, std::int64_t line_width, Colour colour);
  /// Letters of 7 * scale pixels' height; `left`, `top`: of their first pixel.
  void write(const std::string& text, std::int64_t left, std::int64_t top, std::int64_t scale, Colour colour);
  void paste(const trainers::Image& image, std::int64_t left, std::int64_t top);

  /// The picture; the canvas is empty then.
  trainers::Image finish();

 private:
  std::int64_t height_, width_;
  std::vector<std::uint8_t> pixels_;
};

}  // namespace sparsify::detection
