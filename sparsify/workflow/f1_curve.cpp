// SPDX-License-Identifier: Apache-2.0
#include "workflow/f1_curve.hpp"

#include "workflow/class_curves.hpp"
#include "workflow/table.hpp"

namespace sparsify {

std::string f1_curve_svg(const detection::DetectionMetrics& metrics,
                         const std::vector<std::string>& class_names) {
  ClassCurves plot;
  plot.title = "F1-Confidence Curve";
  plot.across = "Confidence", plot.up = "F1";
  plot.values = &detection::PrecisionCurves::f1;
  plot.mean = "all classes " + format_fixed(metrics.f1, 2) + " at " + format_fixed(metrics.confidence, 3);
  plot.remark = [](const detection::ClassPrecision&) { return std::string(); };
  return class_curves_svg(plot, metrics, class_names);
}

}  // namespace sparsify
