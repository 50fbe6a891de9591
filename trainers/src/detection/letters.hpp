// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "detection/canvas.hpp"

namespace sparsify::detection {

constexpr std::int64_t kLineHeight = 9;  ///< in pixels, with what reaches below the line

/// The text in letters that are drawn; others become '?'.
std::string drawable(const std::string& text);

/// What a drawable text consists of, from the upper left corner of its first letter; letters without lower
/// parts are 7 pixels high.
std::vector<Rectangle> strokes_of(const std::string& text);

/// In pixels.
std::int64_t width_of(const std::string& text);

}  // namespace sparsify::detection
