// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "workflow/svg.hpp"

namespace sparsify {

/// Curves or bars over one horizontal axis, as SVG of 840 x 240 user units with frame, ticks and legend.
class Chart {
 public:
  Chart(Point lowest, Point highest);

  void curve(const std::string& label, const std::string& colour, const std::vector<Point>& points,
             bool dots = false);
  std::string svg() const;

 private:
  double x(double value) const;
  double y(double value) const;

  Point lowest_, highest_;
  int curves_ = 0;
  std::string svg_;
};

/// Named stretches of the horizontal axis from 0 to `last`, one bar a row.
struct Bar {
  std::string label;
  double from, to;
};
std::string bars_svg(const std::vector<Bar>& bars, double last);

}  // namespace sparsify
