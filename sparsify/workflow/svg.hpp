// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

namespace sparsify {

/// A place in user units of an image, y downwards, or in a chart.
struct Point {
  double x, y;
};

/// As short as four digits permit.
std::string svg_number(double value);

/// `anchor`: which part of the text lies at x, "start", "middle" or "end".
std::string svg_text(double x, double y, const std::string& text, const char* anchor,
                     const std::string& fill = "#222");

/// The same, read from below.
std::string svg_text_upwards(double x, double y, const std::string& text, const char* anchor);

/// A line through points. A title is shown where the pointer rests on it.
std::string svg_polyline(const std::vector<Point>& points, const std::string& colour, double width,
                         const std::string& title = "");

/// An image of width x height user units, to stand in a page.
std::string svg_image(const std::string& inside, int width, int height);
/// The same on white, to be a file of its own.
std::string svg_file(const std::string& inside, int width, int height);

}  // namespace sparsify
