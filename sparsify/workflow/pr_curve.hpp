// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "sparsify/detection/average_precision.hpp"

namespace sparsify {

/// Precision by recall at IoU 0.5, as SVG: what lies below a class's curve is its AP50.
std::string pr_curve_svg(const detection::DetectionMetrics& metrics,
                         const std::vector<std::string>& class_names);

}  // namespace sparsify
