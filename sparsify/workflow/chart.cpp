// SPDX-License-Identifier: Apache-2.0
#include "workflow/chart.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "workflow/html.hpp"

namespace sparsify {
namespace {

std::string coordinate(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4g", value);
  return text;
}

/// 1, 2 or 5 times a power of ten, so that at most `most` of them fit into `range`.
double tick(double range, int most) {
  const double rough = range / most, power = std::pow(10.0, std::floor(std::log10(rough)));
  for (const double step : {1.0, 2.0, 5.0})
    if (rough <= step * power * 1.0001) return step * power;
  return 10 * power;
}

std::string svg_of(const std::string& inside, int height) {
  return "<svg viewBox='0 0 840 " + std::to_string(height) +
         "' font-size='12' font-family='system-ui,sans-serif' role='img'>" + inside + "</svg>";
}

std::string label(double x, double y, const std::string& text, const char* anchor,
                  const std::string& fill = "#222") {
  return "<text x='" + coordinate(x) + "' y='" + coordinate(y) + "' text-anchor='" + anchor + "' fill='" +
         fill + "'>" + escape_html(text) + "</text>";
}

}  // namespace

Chart::Chart(Point lowest, Point highest)
    : lowest_(lowest), highest_{std::max(highest.x, lowest.x + 1e-9), std::max(highest.y, lowest.y + 1e-9)} {
  for (int i = 0; i <= 4; ++i) {
    const double value = lowest_.y + (highest_.y - lowest_.y) * i / 4;
    svg_ += "<line x1='60' x2='830' y1='" + coordinate(y(value)) + "' y2='" + coordinate(y(value)) +
            "' stroke='#ddd'/>" + label(54, y(value) + 4, coordinate(value), "end");
  }
  const double step = std::max(1.0, tick(highest_.x - lowest_.x, 12));
  for (double value = std::ceil(lowest_.x / step) * step; value <= highest_.x + 1e-9; value += step)
    svg_ += label(x(value), 232, coordinate(value), "middle");
}

void Chart::curve(const std::string& name, const std::string& colour, const std::vector<Point>& points,
                  bool dots) {
  svg_ += "<polyline fill='none' stroke-width='2' stroke='" + colour + "' points='";
  for (const auto& point : points) svg_ += coordinate(x(point.x)) + "," + coordinate(y(point.y)) + " ";
  svg_ += "'/>";
  if (dots)
    for (const auto& point : points)
      svg_ += "<circle r='2.5' fill='" + colour + "' cx='" + coordinate(x(point.x)) + "' cy='" +
              coordinate(y(point.y)) + "'/>";
  svg_ += label(70 + 190 * curves_++, 12, name, "start", colour);
}

std::string Chart::svg() const { return svg_of(svg_, 240); }

double Chart::x(double value) const { return 70 + 750 * (value - lowest_.x) / (highest_.x - lowest_.x); }
double Chart::y(double value) const { return 215 - 190 * (value - lowest_.y) / (highest_.y - lowest_.y); }

std::string bars_svg(const std::vector<Bar>& bars, double last) {
  std::string svg;
  const auto x = [&](double value) { return 70 + 750 * value / last; };
  double top = 4;
  for (const auto& bar : bars) {
    const double from = x(std::min(bar.from, last)), to = x(std::min(bar.to, last));
    svg += "<rect x='" + coordinate(from) + "' y='" + coordinate(top) + "' width='" +
           coordinate(std::max(2.0, to - from)) + "' height='16' fill='#bcd3f5'/>";
    const bool left = from > 450;  // where there is room for the words
    svg += label(left ? from - 4 : from + 4, top + 12, bar.label, left ? "end" : "start");
    top += 20;
  }
  const double step = std::max(1.0, tick(last, 12));
  for (double value = 0; value <= last + 1e-9; value += step)
    svg += label(x(value), top + 12, coordinate(value), "middle");
  return svg_of(svg, static_cast<int>(top) + 18);
}

}  // namespace sparsify
