// SPDX-License-Identifier: Apache-2.0
#include "sparsify/detection/average_precision.hpp"

#include <algorithm>

namespace sparsify::detection {
namespace {

double threshold(int i) { return 0.5 + 0.05 * i; }

// The object, still free, that the box overlaps most and at least so much; -1: none.
std::int64_t best_free(const Detection& box, const std::vector<Detection>& objects,
                       const std::vector<bool>& taken, double at_least) {
  std::int64_t best = -1;
  double most = std::min(at_least, 1 - 1e-10);
  for (std::size_t i = 0; i < objects.size(); ++i) {
    if (taken[i]) continue;
    const double overlap = iou(box, objects[i]);
    if (overlap < most) continue;
    most = overlap, best = static_cast<std::int64_t>(i);
  }
  return best;
}

// Precision as a function of recall, made falling: at every detection, best first.
struct Curve {
  std::vector<double> recall, precision;
};

Curve curve(const std::vector<bool>& hits, std::int64_t objects) {
  Curve result;
  std::int64_t found = 0;
  for (std::size_t i = 0; i < hits.size(); ++i) {
    found += hits[i];
    result.recall.push_back(static_cast<double>(found) / static_cast<double>(objects));
    result.precision.push_back(static_cast<double>(found) / static_cast<double>(i + 1));
  }
  for (std::size_t i = result.precision.size(); i-- > 1;)
    result.precision[i - 1] = std::max(result.precision[i - 1], result.precision[i]);
  return result;
}

double at_101_points(const Curve& curve) {
  double sum = 0;
  for (int i = 0; i <= 100; ++i) {
    const auto reached = std::lower_bound(curve.recall.begin(), curve.recall.end(), i / 100.0);
    if (reached != curve.recall.end())
      sum += curve.precision[static_cast<std::size_t>(reached - curve.recall.begin())];
  }
  return sum / 101;
}

double area_below(const Curve& curve) {
  double sum = 0, before = 0;
  for (std::size_t i = 0; i < curve.recall.size(); ++i) {
    sum += (curve.recall[i] - before) * curve.precision[i];
    before = curve.recall[i];
  }
  return sum;
}

}  // namespace

void AveragePrecision::add(const std::vector<Detection>& detections,
                           const std::vector<GroundTruth>& objects) {
  std::map<std::int64_t, std::vector<Detection>> present, found;
  for (const auto& object : objects) {
    present[object.label].push_back({object.x1, object.y1, object.x2, object.y2});
    ++objects_[object.label];
  }
  for (const auto& detection : detections) found[detection.label].push_back(detection);
  for (auto& [label, boxes] : found) {
    std::stable_sort(boxes.begin(), boxes.end(),
                     [](const Detection& a, const Detection& b) { return a.score > b.score; });
    if (static_cast<std::int64_t>(boxes.size()) > max_det_) boxes.resize(static_cast<std::size_t>(max_det_));
    const auto& there = present[label];
    auto& matches = matches_[label];
    const auto begin = matches.size();
    for (const auto& box : boxes) matches.push_back({box.score, {}});
    for (int t = 0; t < kThresholds; ++t) {
      std::vector<bool> taken(there.size(), false);
      for (std::size_t i = 0; i < boxes.size(); ++i) {
        const auto object = best_free(boxes[i], there, taken, threshold(t));
        if (object >= 0) taken[static_cast<std::size_t>(object)] = true;
        matches[begin + i].hits[t] = object >= 0;
      }
    }
  }
}

DetectionMetrics AveragePrecision::compute() const {
  DetectionMetrics metrics;
  for (const auto& [label, count] : objects_) {
    ClassPrecision result;
    result.objects = count;
    auto matches = matches_.count(label) ? matches_.at(label) : std::vector<Match>{};
    std::stable_sort(matches.begin(), matches.end(),
                     [](const Match& a, const Match& b) { return a.score > b.score; });
    for (int t = 0; t < kThresholds; ++t) {
      std::vector<bool> hits;
      for (const auto& match : matches) hits.push_back(match.hits[t]);
      const auto points = curve(hits, count);
      const double ap = interpolation_ == Interpolation::kCoco ? at_101_points(points) : area_below(points);
      result.ap += ap / kThresholds;
      if (t == 0) result.ap50 = ap;
    }
    metrics.map50 += result.ap50, metrics.map += result.ap;
    metrics.classes[label] = result;
  }
  if (!metrics.classes.empty()) {
    metrics.map50 /= static_cast<double>(metrics.classes.size());
    metrics.map /= static_cast<double>(metrics.classes.size());
  }
  return metrics;
}

}  // namespace sparsify::detection
