// SPDX-License-Identifier: Apache-2.0
#include "workflow/pr_curve.hpp"

#include "workflow/class_curves.hpp"
#include "workflow/table.hpp"

namespace sparsify {

std::string pr_curve_svg(const detection::DetectionMetrics& metrics,
                         const std::vector<std::string>& class_names) {
  ClassCurves plot;
  plot.title = "Precision-Recall Curve";
  plot.across = "Recall", plot.up = "Precision";
  plot.values = &detection::PrecisionCurves::precision_at_recall;
  plot.mean = "all classes " + format_fixed(metrics.map50, 3) + " mAP@0.5";
  plot.remark = [](const detection::ClassPrecision& each) { return " " + format_fixed(each.ap50, 3); };
  return class_curves_svg(plot, metrics, class_names);
}

}  // namespace sparsify
