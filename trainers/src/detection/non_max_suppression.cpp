// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <map>

#include "sparsify/detection/boxes.hpp"
#include "sparsify/error.hpp"

namespace sparsify::detection {
namespace {

double area(const Detection& box) {
  return std::max(0.0, static_cast<double>(box.x2) - box.x1) *
         std::max(0.0, static_cast<double>(box.y2) - box.y1);
}

// Everything above the confidence, in the order of the rows.
std::vector<Detection> candidates(const torch::Tensor& boxes, const NmsOptions& options) {
  const auto plain = boxes.detach().to(torch::kCPU, torch::kFloat).contiguous();
  const auto columns = plain.size(1), classes = columns - 5;
  std::vector<Detection> found;
  for (std::int64_t i = 0; i < plain.size(0); ++i) {
    const float* row = plain.const_data_ptr<float>() + i * columns;
    if (!(row[4] >= options.confidence)) continue;  // no class can reach more
    Detection box{row[0] - row[2] / 2, row[1] - row[3] / 2, row[0] + row[2] / 2, row[1] + row[3] / 2};
    const float* scores = row + 5;
    const auto best = std::max_element(scores, scores + classes) - scores;
    for (std::int64_t label = options.multi_label ? 0 : best;
         label < (options.multi_label ? classes : best + 1); ++label) {
      box.score = row[4] * scores[label];
      box.label = label;
      if (box.score >= options.confidence) found.push_back(box);
    }
  }
  return found;
}

}  // namespace

double iou(const Detection& a, const Detection& b) {
  const double width = std::min<double>(a.x2, b.x2) - std::max<double>(a.x1, b.x1);
  const double height = std::min<double>(a.y2, b.y2) - std::max<double>(a.y1, b.y1);
  const double common = width > 0 && height > 0 ? width * height : 0;
  const double all = area(a) + area(b) - common;
  return all > 0 ? common / all : 0;
}

std::vector<Detection> non_max_suppression(const torch::Tensor& boxes, const NmsOptions& options) {
  if (boxes.dim() != 2 || boxes.size(1) < 6)
    throw Error("non_max_suppression: expected [boxes, 5 + classes], got " + std::to_string(boxes.dim()) +
                " dimensions");
  auto all = candidates(boxes, options);
  std::stable_sort(all.begin(), all.end(),
                   [](const Detection& a, const Detection& b) { return a.score > b.score; });
  if (static_cast<std::int64_t>(all.size()) > options.max_nms)
    all.resize(static_cast<std::size_t>(options.max_nms));
  std::vector<Detection> kept;
  std::map<std::int64_t, std::vector<Detection>> kept_of_class;
  for (const auto& box : all) {
    if (static_cast<std::int64_t>(kept.size()) >= options.max_det) break;
    auto& same = kept_of_class[box.label];
    const bool covered = std::any_of(same.begin(), same.end(),
                                     [&](const Detection& better) { return iou(better, box) > options.iou; });
    if (covered) continue;
    same.push_back(box);
    kept.push_back(box);
  }
  return kept;
}

}  // namespace sparsify::detection
