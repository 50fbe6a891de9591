// SPDX-License-Identifier: Apache-2.0
#include "workflow/chart.hpp"

#include <algorithm>
#include <cmath>

#include "workflow/svg.hpp"

namespace sparsify {
namespace {

/// 1, 2 or 5 times a power of ten, so that at most `most` of them fit into `range`.
double tick(double range, int most) {
  const double rough = range / most, power = std::pow(10.0, std::floor(std::log10(rough)));
  for (const double step : {1.0, 2.0, 5.0})
    if (rough <= step * power * 1.0001) return step * power;
  return 10 * power;
}

}  // namespace

Chart::Chart(Point lowest, Point highest)
    : lowest_(lowest), highest_{std::max(highest.x, lowest.x + 1e-9), std::max(highest.y, lowest.y + 1e-9)} {
  for (int i = 0; i <= 4; ++i) {
    const double value = lowest_.y + (highest_.y - lowest_.y) * i / 4;
    svg_ += "<line x1='60' x2='830' y1='" + svg_number(y(value)) + "' y2='" + svg_number(y(value)) +
            "' stroke='#ddd'/>" + svg_text(54, y(value) + 4, svg_number(value), "end");
  }
  const double step = std::max(1.0, tick(highest_.x - lowest_.x, 12));
  for (double value = std::ceil(lowest_.x / step) * step; value <= highest_.x + 1e-9; value += step)
    svg_ += svg_text(x(value), 232, svg_number(value), "middle");
}

void Chart::curve(const std::string& name, const std::string& colour, const std::vector<Point>& points,
                  bool dots) {
  std::vector<Point> drawn;
  for (const auto& point : points) drawn.push_back({x(point.x), y(point.y)});
  svg_ += svg_polyline(drawn, colour, 2);
  if (dots)
    for (const auto& point : points)
      svg_ += "<circle r='2.5' fill='" + colour + "' cx='" + svg_number(x(point.x)) + "' cy='" +
              svg_number(y(point.y)) + "'/>";
  svg_ += svg_text(70 + 190 * curves_++, 12, name, "start", colour);
}

std::string Chart::svg() const { return svg_image(svg_, 840, 240); }

double Chart::x(double value) const { return 70 + 750 * (value - lowest_.x) / (highest_.x - lowest_.x); }
double Chart::y(double value) const { return 215 - 190 * (value - lowest_.y) / (highest_.y - lowest_.y); }

std::string bars_svg(const std::vector<Bar>& bars, double last) {
  std::string svg;
  const auto x = [&](double value) { return 70 + 750 * value / last; };
  double top = 4;
  for (const auto& bar : bars) {
    const double from = x(std::min(bar.from, last)), to = x(std::min(bar.to, last));
    svg += "<rect x='" + svg_number(from) + "' y='" + svg_number(top) + "' width='" +
           svg_number(std::max(2.0, to - from)) + "' height='16' fill='#bcd3f5'/>";
    const bool left = from > 450;  // where there is room for the words
    svg += svg_text(left ? from - 4 : from + 4, top + 12, bar.label, left ? "end" : "start");
    top += 20;
  }
  const double step = std::max(1.0, tick(last, 12));
  for (double value = 0; value <= last + 1e-9; value += step)
    svg += svg_text(x(value), top + 12, svg_number(value), "middle");
  return svg_image(svg, 840, static_cast<int>(top) + 18);
}

}  // namespace sparsify
