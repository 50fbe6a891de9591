// SPDX-License-Identifier: Apache-2.0
#include "workflow/class_curves.hpp"

#include "sparsify/detection/draw.hpp"
#include "workflow/svg.hpp"

namespace sparsify {
namespace {

constexpr double kLeft = 70, kTop = 40, kWidth = 600, kHeight = 500, kRow = 18;
constexpr int kImageWidth = 960, kImageHeight = 600;
constexpr std::size_t kMostNamed = 20, kMostPoints = 400;
constexpr const char* kMeanColour = "#0000ff";

double x(double value) { return kLeft + kWidth * value; }
double y(double value) { return kTop + kHeight * (1 - value); }

std::string line(Point from, Point to) { return svg_polyline({from, to}, "#ddd", 1); }

std::string frame(const ClassCurves& plot) {
  std::string svg;
  for (int i = 0; i <= 5; ++i) {
    const double value = i / 5.0;
    svg += line({x(0), y(value)}, {x(1), y(value)}) + line({x(value), y(0)}, {x(value), y(1)}) +
           svg_text(x(0) - 6, y(value) + 4, svg_number(value), "end") +
           svg_text(x(value), y(0) + 18, svg_number(value), "middle");
  }
  return svg + svg_text(x(0.5), kTop - 14, plot.title, "middle") +
         svg_text(x(0.5), y(0) + 40, plot.across, "middle") + svg_text_upwards(24, y(0.5), plot.up, "middle");
}

// Evenly spaced values from 0 to 1; of many, some are enough.
std::string curve(const std::vector<double>& values, const std::string& colour, double width,
                  const std::string& title) {
  const auto last = values.size() - 1, stride = 1 + last / kMostPoints;
  std::vector<Point> points;
  for (std::size_t i = 0; i <= last; i += stride)
    points.push_back({x(static_cast<double>(i) / static_cast<double>(last)), y(values[i])});
  if (last % stride != 0) points.push_back({x(1), y(values[last])});
  return svg_polyline(points, colour, width, title);
}

std::string css(const detection::Colour& colour) {
  return "rgb(" + std::to_string(colour[0]) + "," + std::to_string(colour[1]) + "," +
         std::to_string(colour[2]) + ")";
}

}  // namespace

std::string class_curves_svg(const ClassCurves& plot, const detection::DetectionMetrics& metrics,
                             const std::vector<std::string>& class_names) {
  if (metrics.classes.empty())  // a set without objects
    return svg_file(frame(plot), kImageWidth, kImageHeight);
  const bool are_named = metrics.classes.size() <= kMostNamed;
  std::string svg = frame(plot);
  double row = kTop + 10;
  const auto name_in_legend = [&](const std::string& name, const std::string& colour) {
    svg += svg_polyline({{x(1) + 20, row - 4}, {x(1) + 40, row - 4}}, colour, 3) +
           svg_text(x(1) + 46, row, name, "start");
    row += kRow;
  };
  for (const auto& [label, each] : metrics.classes) {
    const auto name = class_names.at(static_cast<std::size_t>(label)) + plot.remark(each);
    const auto colour = are_named ? css(detection::class_colour(label)) : "#bbb";
    svg += curve(each.curves.*plot.values, colour, 1.5, name);
    if (are_named) name_in_legend(name, colour);
  }
  svg += curve(metrics.curves.*plot.values, kMeanColour, 4, plot.mean);
  name_in_legend(plot.mean, kMeanColour);
  return svg_file(svg, kImageWidth, kImageHeight);
}

}  // namespace sparsify
