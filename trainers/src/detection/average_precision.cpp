// SPDX-License-Identifier: Apache-2.0
#include "sparsify/detection/average_precision.hpp"

#include <algorithm>
#include <array>

#include "detection/precision_curves.hpp"

namespace sparsify::detection {
namespace {

// To the bit what pycocotools has: boxes of whole pixels often overlap by exactly so much.
constexpr auto kIous = [] {
  std::array<double, 10> thresholds{};
  for (int i = 0; i < 10; ++i) thresholds[static_cast<std::size_t>(i)] = 0.5 + i * ((0.95 - 0.5) / 9);
  return thresholds;
}();

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

void add_to(std::vector<double>& sum, const std::vector<double>& curve, double share) {
  sum.resize(curve.size());
  for (std::size_t i = 0; i < curve.size(); ++i) sum[i] += curve[i] * share;
}

void average(DetectionMetrics& metrics) {
  const double share = 1 / static_cast<double>(metrics.classes.size());
  auto& mean = metrics.curves;
  for (const auto& [label, each] : metrics.classes) {
    metrics.map50 += each.ap50 * share, metrics.map += each.ap * share;
    add_to(mean.precision, each.curves.precision, share);
    add_to(mean.recall, each.curves.recall, share);
    add_to(mean.f1, each.curves.f1, share);
    add_to(mean.precision_at_recall, each.curves.precision_at_recall, share);
  }
}

void choose_confidence(DetectionMetrics& metrics) {
  const auto best = best_when_smoothed(metrics.curves.f1);
  metrics.confidence = confidence_at(best);
  metrics.precision = metrics.curves.precision[best];
  metrics.recall = metrics.curves.recall[best];
  metrics.f1 = metrics.curves.f1[best];
  for (auto& [label, each] : metrics.classes) {
    each.precision = each.curves.precision[best];
    each.recall = each.curves.recall[best];
    each.f1 = each.curves.f1[best];
  }
}

}  // namespace

void AveragePrecision::add(const std::vector<Detection>& detections,
                           const std::vector<GroundTruth>& objects) {
  std::map<std::int64_t, std::vector<Detection>> present, found;
  for (const auto& object : objects)
    present[object.label].push_back({object.x1, object.y1, object.x2, object.y2});
  for (const auto& [label, boxes] : present) {
    ++present_[label].images;
    present_[label].objects += static_cast<std::int64_t>(boxes.size());
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
        const auto object = best_free(boxes[i], there, taken, kIous[static_cast<std::size_t>(t)]);
        if (object >= 0) taken[static_cast<std::size_t>(object)] = true;
        matches[begin + i].hits[t] = object >= 0;
      }
    }
  }
}

ClassPrecision AveragePrecision::judge(std::int64_t label, const Present& present) const {
  ClassPrecision result;
  result.images = present.images, result.objects = present.objects;
  auto matches = matches_.count(label) ? matches_.at(label) : std::vector<Match>{};
  std::stable_sort(matches.begin(), matches.end(),
                   [](const Match& a, const Match& b) { return a.score > b.score; });
  std::vector<float> scores;
  for (const auto& match : matches) scores.push_back(match.score);
  for (int t = 0; t < kThresholds; ++t) {
    std::vector<bool> hits;
    for (const auto& match : matches) hits.push_back(match.hits[t]);
    const auto curve = falling_precision(hits, present.objects);
    const double ap =
        interpolation_ == Interpolation::kCoco ? mean_of(at_coco_recalls(curve)) : area_below(curve);
    result.ap += ap / kThresholds;
    if (t > 0) continue;
    result.ap50 = ap;
    result.curves = by_confidence(scores, hits, present.objects);
    result.curves.precision_at_recall = at_coco_recalls(curve);
  }
  return result;
}

DetectionMetrics AveragePrecision::compute() const {
  DetectionMetrics metrics;
  for (const auto& [label, present] : present_) metrics.classes[label] = judge(label, present);
  if (metrics.classes.empty()) return metrics;
  average(metrics);
  choose_confidence(metrics);
  return metrics;
}

}  // namespace sparsify::detection
