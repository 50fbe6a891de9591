// SPDX-License-Identifier: Apache-2.0
#include <torch/torch.h>

#include "bench.hpp"
#include "sparsify/detection/boxes.hpp"
#include "sparsify/error.hpp"

namespace sparsify::bench {
namespace {

using detection::Detection;
using detection::NmsOptions;

// Of an image of 640 px at strides 8, 16 and 32.
constexpr int64_t kBoxes = 25200, kClasses = 80;
// Objects in the image, and boxes that found each.
constexpr int64_t kObjects = 200, kCluster = 6, kFound = kObjects * kCluster;

// As mean average precision is measured.
constexpr NmsOptions kMeasured{.confidence = 0.001, .iou = 0.6, .multi_label = true};

// As many rows for each object as boxes found it.
torch::Tensor clustered(const torch::Tensor& of_boxes) {
  return of_boxes.narrow(0, 0, kObjects).repeat_interleave(kCluster, 0);
}

// A detector's boxes, [boxes, 5 + classes]: clusters around objects, each with a likely class, among many
// that found nothing. Corners lie on eighths of a pixel, so that floats hold them exactly however far they
// are moved for their class, and both sides see the same overlaps.
torch::Tensor plausible_boxes() {
  torch::manual_seed(0);
  const auto centre = torch::rand({kBoxes, 2}) * 640, size = torch::pow(16, torch::rand({kBoxes, 2})) * 20;
  const auto objectness = torch::randn({kBoxes, 1}) * 1.5 - 6;
  const auto classes = torch::randn({kBoxes, kClasses}) * 1.5 - 8;
  const auto sizes = clustered(size);
  centre.narrow(0, 0, kFound).copy_(clustered(centre) + torch::randn({kFound, 2}) * sizes * 0.05);
  size.narrow(0, 0, kFound).copy_(sizes * torch::exp(torch::randn({kFound, 2}) * 0.1));
  objectness.narrow(0, 0, kFound).add_(7);
  const auto label = torch::randint(kClasses, {kObjects, 1}).repeat_interleave(kCluster, 0);
  classes.narrow(0, 0, kFound).scatter_add_(1, label, torch::full({kFound, 1}, 10.0F));
  const auto places = torch::cat({centre, size}, 1).mul(4).round().div(4);
  const auto scores = torch::cat({objectness, classes}, 1).sigmoid();
  return torch::cat({places, scores}, 1).index_select(0, torch::randperm(kBoxes));
}

torch::Tensor area_between(const torch::Tensor& low, const torch::Tensor& high) {
  const auto sides = (high - low).clamp_min(0);
  return sides.select(1, 0) * sides.select(1, 1);
}

torch::Tensor area(const torch::Tensor& corners) {
  return area_between(corners.narrow(1, 0, 2), corners.narrow(1, 2, 2));
}

// Of one box with others, all by their corners.
torch::Tensor overlaps(const torch::Tensor& box, const torch::Tensor& others) {
  const auto common = area_between(torch::max(box.narrow(1, 0, 2), others.narrow(1, 0, 2)),
                                   torch::min(box.narrow(1, 2, 2), others.narrow(1, 2, 2)));
  return common / (area(box) + area(others) - common);
}

// Corners, score and class of everything above the confidence, best first.
torch::Tensor candidates(const torch::Tensor& boxes, const NmsOptions& options) {
  const auto likely = boxes.index({boxes.select(1, 4).ge(options.confidence)});
  const auto scores = likely.narrow(1, 4, 1) * likely.narrow(1, 5, kClasses);
  const auto found = scores.ge(options.confidence).nonzero();
  const auto row = found.select(1, 0), label = found.select(1, 1);
  const auto score = scores.index({row, label});
  const auto half = likely.narrow(1, 2, 2) / 2, centre = likely.narrow(1, 0, 2);
  const auto corners = torch::cat({centre - half, centre + half}, 1).index_select(0, row);
  const auto all = torch::cat({corners, score.unsqueeze(1), label.unsqueeze(1).to(torch::kFloat)}, 1);
  const auto order = std::get<1>(score.sort(/*stable=*/true, 0, /*descending=*/true));
  return all.index_select(0, order.slice(0, 0, options.max_nms));
}

// With LibTorch's operators alone: [kept, 6] as the candidates. Boxes of different classes are moved apart.
torch::Tensor suppressed_by_loop(const torch::Tensor& boxes, const NmsOptions& options) {
  constexpr int kApart = 4096;
  const auto all = candidates(boxes, options);
  const auto apart = all.narrow(1, 0, 4) + all.narrow(1, 5, 1) * kApart;
  auto left = torch::arange(all.size(0));
  std::vector<torch::Tensor> kept;
  while (left.size(0) > 0 && static_cast<int64_t>(kept.size()) < options.max_det) {
    const auto best = left.narrow(0, 0, 1), others = left.slice(0, 1);
    kept.push_back(best);
    const auto overlap = overlaps(apart.index_select(0, best), apart.index_select(0, others));
    left = others.index({overlap.le(options.iou)});
  }
  return all.index_select(0, torch::cat(kept));
}

torch::Tensor as_rows(const std::vector<Detection>& found) {
  const auto rows = torch::empty({static_cast<int64_t>(found.size()), 6});
  auto* next = rows.mutable_data_ptr<float>();
  for (const auto& box : found)
    for (const float value : {box.x1, box.y1, box.x2, box.y2, box.score, static_cast<float>(box.label)})
      *next++ = value;
  return rows;
}

Record suppress() {
  const auto boxes = plausible_boxes();
  const auto ours = non_max_suppression(boxes, kMeasured);
  if (!torch::equal(as_rows(ours), suppressed_by_loop(boxes, kMeasured)))
    throw Error("nms: the two sides keep different boxes");
  return compare(
      "nms",
      "25,200 boxes of 80 classes, " + std::to_string(candidates(boxes, kMeasured).size(0)) +
          " scores above 0.001, " + std::to_string(ours.size()) +
          " kept, against a loop of LibTorch's operators",
      15, [&] { non_max_suppression(boxes, kMeasured); }, [&] { suppressed_by_loop(boxes, kMeasured); });
}

}  // namespace

std::vector<Comparison> nms_comparisons() { return {{"nms", suppress}}; }

}  // namespace sparsify::bench
