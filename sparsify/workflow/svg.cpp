// SPDX-License-Identifier: Apache-2.0
#include "workflow/svg.hpp"

#include <cstdio>

#include "workflow/html.hpp"

namespace sparsify {
namespace {

std::string element(const std::string& inside, int width, int height, const std::string& attributes) {
  return "<svg " + attributes + "viewBox='0 0 " + std::to_string(width) + " " + std::to_string(height) +
         "' font-size='12' font-family='system-ui,sans-serif' role='img'>" + inside + "</svg>";
}

}  // namespace

std::string svg_number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4g", value);
  return text;
}

std::string svg_text(double x, double y, const std::string& text, const char* anchor,
                     const std::string& fill) {
  return "<text x='" + svg_number(x) + "' y='" + svg_number(y) + "' text-anchor='" + anchor + "' fill='" +
         fill + "'>" + escape_html(text) + "</text>";
}

std::string svg_text_upwards(double x, double y, const std::string& text, const char* anchor) {
  return "<g transform='rotate(-90)'>" + svg_text(-y, x, text, anchor) + "</g>";
}

std::string svg_polyline(const std::vector<Point>& points, const std::string& colour, double width,
                         const std::string& title) {
  std::string svg =
      "<polyline fill='none' stroke-width='" + svg_number(width) + "' stroke='" + colour + "' points='";
  for (const auto& point : points) svg += svg_number(point.x) + "," + svg_number(point.y) + " ";
  return svg + (title.empty() ? "'/>" : "'><title>" + escape_html(title) + "</title></polyline>");
}

std::string svg_image(const std::string& inside, int width, int height) {
  return element(inside, width, height, "");
}

std::string svg_file(const std::string& inside, int width, int height) {
  return element("<rect width='100%' height='100%' fill='#fff'/>" + inside, width, height,
                 "xmlns='http://www.w3.org/2000/svg' ") +
         "\n";
}

}  // namespace sparsify
