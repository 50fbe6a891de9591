// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "sparsify/detection/average_precision.hpp"

namespace sparsify {

/// F1 by confidence at IoU 0.5, as SVG: which score is worth showing.
std::string f1_curve_svg(const detection::DetectionMetrics& metrics,
                         const std::vector<std::string>& class_names);

}  // namespace sparsify
