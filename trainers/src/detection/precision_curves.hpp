// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "sparsify/detection/average_precision.hpp"

namespace sparsify::detection {

/// Precision as a function of recall: at every detection, best first.
struct RecallCurve {
  std::vector<double> recall, precision;
};
/// Made falling: the best precision at that recall or a larger one.
RecallCurve falling_precision(const std::vector<bool>& hits, std::int64_t objects);

/// At recalls of 0, 0.01 ... 1; 0 where that is not reached.
std::vector<double> at_coco_recalls(const RecallCurve& curve);
double mean_of(const std::vector<double>& values);
double area_below(const RecallCurve& curve);

/// All but precision_at_recall, for detections with these scores, best first. Between two scores lies a line,
/// as Ultralytics' ap_per_class draws it; above the best score nothing is found and nothing wrong.
PrecisionCurves by_confidence(const std::vector<float>& scores, const std::vector<bool>& hits,
                              std::int64_t objects);
double confidence_at(std::size_t point);

/// The first place of the largest mean over a tenth of the curve around it: one lucky score does not decide.
std::size_t best_when_smoothed(const std::vector<double>& curve);

}  // namespace sparsify::detection
