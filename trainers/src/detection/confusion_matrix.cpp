// SPDX-License-Identifier: Apache-2.0
#include "sparsify/detection/confusion_matrix.hpp"

namespace sparsify::detection {
namespace {

constexpr float kConfidence = 0.25F;
constexpr double kIou = 0.45;

std::vector<Detection> sure(const std::vector<Detection>& detections) {
  std::vector<Detection> kept;
  for (const auto& detection : detections)
    if (detection.score > kConfidence) kept.push_back(detection);
  return kept;
}

// Of each object, the detection that it keeps; -1: none.
std::vector<std::int64_t> assigned(const std::vector<Detection>& detections,
                                   const std::vector<GroundTruth>& objects) {
  std::vector<std::int64_t> keeps(objects.size(), -1);
  std::vector<double> overlap(objects.size(), 0);
  for (std::size_t d = 0; d < detections.size(); ++d) {
    double most = kIou;
    std::size_t best = objects.size();
    for (std::size_t o = 0; o < objects.size(); ++o) {
      const auto& object = objects[o];
      const double common = iou(detections[d], {object.x1, object.y1, object.x2, object.y2});
      if (common > most) most = common, best = o;
    }
    if (best == objects.size() || most <= overlap[best]) continue;
    overlap[best] = most;
    keeps[best] = static_cast<std::int64_t>(d);
  }
  return keeps;
}

}  // namespace

ConfusionMatrix::ConfusionMatrix(std::int64_t classes)
    : background_(classes), counts_(static_cast<std::size_t>((classes + 1) * (classes + 1)), 0) {}

void ConfusionMatrix::add(const std::vector<Detection>& detections, const std::vector<GroundTruth>& objects) {
  const auto found = sure(detections);
  const auto keeps = assigned(found, objects);
  std::vector<bool> used(found.size(), false);
  for (std::size_t o = 0; o < objects.size(); ++o) {
    const bool missed = keeps[o] < 0;
    const auto kept = static_cast<std::size_t>(keeps[o]);
    if (!missed) used[kept] = true;
    ++counts_.at(place(missed ? background_ : found[kept].label, objects[o].label));
  }
  for (std::size_t d = 0; d < found.size(); ++d)
    if (!used[d]) ++counts_.at(place(found[d].label, background_));
}

std::int64_t ConfusionMatrix::count(std::int64_t predicted, std::int64_t truth) const {
  return counts_.at(place(predicted, truth));
}

double ConfusionMatrix::share(std::int64_t predicted, std::int64_t truth) const {
  std::int64_t all = 0;
  for (std::int64_t other = 0; other <= background_; ++other) all += count(other, truth);
  return all > 0 ? static_cast<double>(count(predicted, truth)) / static_cast<double>(all) : 0;
}

std::size_t ConfusionMatrix::place(std::int64_t predicted, std::int64_t truth) const {
  return static_cast<std::size_t>(predicted * (background_ + 1) + truth);
}

}  // namespace sparsify::detection
