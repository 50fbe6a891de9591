// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "sparsify/detection/average_precision.hpp"

namespace sparsify {

/// What a plot with a thin curve for each class and a thick one for their mean shows, over an axis from 0
/// to 1.
struct ClassCurves {
  std::string title, across, up;  ///< names of the plot and of its axes
  std::vector<double> detection::PrecisionCurves::* values;
  std::string mean;                                                     ///< name of the thick curve
  std::function<std::string(const detection::ClassPrecision&)> remark;  ///< follows a class's name
};

/// As SVG. As in Ultralytics' plots, up to 20 classes have a colour and a place in the legend; more are grey,
/// and named where the pointer rests on them.
std::string class_curves_svg(const ClassCurves& plot, const detection::DetectionMetrics& metrics,
                             const std::vector<std::string>& class_names);

}  // namespace sparsify
