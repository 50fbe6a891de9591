// SPDX-License-Identifier: Apache-2.0
#include "detection/precision_curves.hpp"

#include <algorithm>
#include <numeric>

namespace sparsify::detection {
namespace {

constexpr std::size_t kConfidences = 1000, kRecalls = 101;

// Line by line through values at falling scores; `above`: over the first of them.
double interpolate(const std::vector<float>& scores, const std::vector<double>& values, double confidence,
                   double above) {
  const auto next = static_cast<std::size_t>(
      std::partition_point(scores.begin(), scores.end(), [&](float score) { return score >= confidence; }) -
      scores.begin());
  if (next == 0) return above;
  if (next == scores.size()) return values.back();
  const double score = scores[next - 1], fall = score - static_cast<double>(scores[next]);
  return values[next - 1] + (values[next] - values[next - 1]) / fall * (score - confidence);
}

// At every detection, best first.
RecallCurve as_they_come(const std::vector<bool>& hits, std::int64_t objects) {
  RecallCurve curve;
  std::int64_t found = 0;
  for (std::size_t i = 0; i < hits.size(); ++i) {
    found += hits[i];
    curve.recall.push_back(static_cast<double>(found) / static_cast<double>(objects));
    curve.precision.push_back(static_cast<double>(found) / static_cast<double>(i + 1));
  }
  return curve;
}

}  // namespace

RecallCurve falling_precision(const std::vector<bool>& hits, std::int64_t objects) {
  auto curve = as_they_come(hits, objects);
  for (std::size_t i = curve.precision.size(); i-- > 1;)
    curve.precision[i - 1] = std::max(curve.precision[i - 1], curve.precision[i]);
  return curve;
}

std::vector<double> at_coco_recalls(const RecallCurve& curve) {
  std::vector<double> values;
  for (std::size_t i = 0; i < kRecalls; ++i) {
    // Not i / 100: to the bit what pycocotools has, as recalls are often exactly so much.
    const auto reached =
        std::lower_bound(curve.recall.begin(), curve.recall.end(), static_cast<double>(i) * 0.01);
    values.push_back(reached == curve.recall.end()
                         ? 0
                         : curve.precision[static_cast<std::size_t>(reached - curve.recall.begin())]);
  }
  return values;
}

double mean_of(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

double area_below(const RecallCurve& curve) {
  double sum = 0, before = 0;
  for (std::size_t i = 0; i < curve.recall.size(); ++i) {
    sum += (curve.recall[i] - before) * curve.precision[i];
    before = curve.recall[i];
  }
  return sum;
}

PrecisionCurves by_confidence(const std::vector<float>& scores, const std::vector<bool>& hits,
                              std::int64_t objects) {
  PrecisionCurves curves;
  if (scores.empty()) {
    curves.precision = curves.recall = curves.f1 = std::vector<double>(kConfidences, 0);
    return curves;
  }
  const auto [recall, precision] = as_they_come(hits, objects);
  for (std::size_t i = 0; i < kConfidences; ++i) {
    const double p = interpolate(scores, precision, confidence_at(i), 1),
                 r = interpolate(scores, recall, confidence_at(i), 0);
    curves.precision.push_back(p);
    curves.recall.push_back(r);
    curves.f1.push_back(p + r > 0 ? 2 * p * r / (p + r) : 0);
  }
  return curves;
}

double confidence_at(std::size_t point) {
  return static_cast<double>(point) / static_cast<double>(kConfidences - 1);
}

std::size_t best_when_smoothed(const std::vector<double>& curve) {
  const auto size = static_cast<std::int64_t>(curve.size()), reach = size / 20;
  std::vector<double> smoothed;
  for (std::int64_t i = 0; i < size; ++i) {
    double sum = 0;
    for (std::int64_t j = i - reach; j <= i + reach; ++j)
      sum += curve[static_cast<std::size_t>(std::clamp<std::int64_t>(j, 0, size - 1))];
    smoothed.push_back(sum);
  }
  return static_cast<std::size_t>(std::max_element(smoothed.begin(), smoothed.end()) - smoothed.begin());
}

}  // namespace sparsify::detection
