// SPDX-License-Identifier: Apache-2.0
#include "sparsify/detection/loss.hpp"

#include <algorithm>
#include <cmath>

#include "detection/loss_terms.hpp"
#include "detection/match_targets.hpp"
#include "sparsify/error.hpp"

namespace sparsify::detection {
namespace {

constexpr double kTiny = 1e-7;
constexpr double kFocalAlpha = 0.25;

// How far beyond its cell's edge a head can place a centre, in cells; half a cell is enough.
double reach_of(const DetectionHead& head) {
  return head.coding == BoxCoding::kUltralytics ? 0.5 : std::clamp((head.scale_xy - 1) / 2, 0.0, 0.5);
}

}  // namespace

torch::Tensor complete_iou(const torch::Tensor& a, const torch::Tensor& b) {
  const auto centre_a = a.narrow(1, 0, 2), centre_b = b.narrow(1, 0, 2);
  const auto size_a = a.narrow(1, 2, 2), size_b = b.narrow(1, 2, 2);
  const auto low_a = centre_a - size_a / 2, high_a = centre_a + size_a / 2;
  const auto low_b = centre_b - size_b / 2, high_b = centre_b + size_b / 2;
  const auto shared = (torch::min(high_a, high_b) - torch::max(low_a, low_b)).clamp_min(0).prod(1);
  const auto iou = shared / (size_a.prod(1) + size_b.prod(1) - shared + kTiny);
  const auto diagonal = (torch::max(high_a, high_b) - torch::min(low_a, low_b)).square().sum(1) + kTiny;
  const auto distance = (centre_a - centre_b).square().sum(1);
  const auto angle = [](const torch::Tensor& size) {
    return torch::atan(size.select(1, 0) / (size.select(1, 1) + kTiny));
  };
  const auto shape = 4 / (M_PI * M_PI) * (angle(size_b) - angle(size_a)).square();
  // Of equal boxes, rounding may make the overlap more than 1, and this 0 / 0.
  const auto weight = (shape / (shape - iou.clamp_max(1) + (1 + kTiny))).detach();
  return iou - (distance / diagonal + shape * weight);
}

DetectionLoss::DetectionLoss(std::vector<DetectionHead> heads, const Hyperparameters& hyp)
    : heads_(std::move(heads)), hyp_(hyp) {
  if (heads_.empty()) throw Error("a detector without a head cannot be trained");
}

torch::Tensor DetectionLoss::cross_entropy(const torch::Tensor& logits, const torch::Tensor& expected,
                                           double positive_weight) const {
  namespace F = torch::nn::functional;
  const auto weight = torch::full({1}, positive_weight, logits.options().requires_grad(false));
  const auto options = F::BinaryCrossEntropyWithLogitsFuncOptions().pos_weight(weight);
  if (hyp_.fl_gamma <= 0) return F::binary_cross_entropy_with_logits(logits, expected, options);
  auto each = F::BinaryCrossEntropyWithLogitsFuncOptions(options);
  const auto losses = F::binary_cross_entropy_with_logits(logits, expected, each.reduction(torch::kNone));
  const auto found = logits.sigmoid();
  const auto right = expected * found + (1 - expected) * (1 - found);
  const auto alpha = expected * kFocalAlpha + (1 - expected) * (1 - kFocalAlpha);
  return (losses * alpha * (1 - right).pow(hyp_.fl_gamma)).mean();
}

LossTerms DetectionLoss::of_level(const torch::Tensor& map, const DetectionHead& head,
                                  const torch::Tensor& targets, std::int64_t height,
                                  std::int64_t width) const {
  const auto anchors = static_cast<std::int64_t>(head.anchors.size());
  const auto rows = map.size(2), columns = map.size(3);
  const auto raw = map.view({map.size(0), anchors, 5 + head.classes, rows, columns}).to(torch::kFloat);
  const auto sizes = anchors_in_cells(head, map, height, width);
  const auto matches = match_targets(targets, sizes, rows, columns, hyp_.anchor_t, reach_of(head));
  const auto objectness = raw.select(2, 4);
  auto overlap = torch::zeros(objectness.sizes(), raw.options().requires_grad(false));
  LossTerms terms{no_loss(raw), {}, no_loss(raw)};
  if (matches.image.size(0) > 0) {
    using torch::indexing::Slice;
    const auto found = raw.index({matches.image, matches.anchor, Slice(), matches.row, matches.column});
    const auto iou = complete_iou(boxes_of(found, head, matches.anchor_size), matches.box);
    terms.box = (1 - iou).mean();
    // Where objects meet in a cell, the best overlap counts.
    const auto place =
        ((matches.image * anchors + matches.anchor) * rows + matches.row) * columns + matches.column;
    overlap.view(-1).scatter_reduce_(0, place, iou.detach().clamp_min(0), "amax");
    if (head.classes > 1) {
      const double off = hyp_.label_smoothing / 2;
      auto expected = torch::full({found.size(0), head.classes}, off, found.options().requires_grad(false));
      expected.scatter_(1, matches.label.unsqueeze(1), 1 - off);
      terms.cls = cross_entropy(found.narrow(1, 5, head.classes), expected, hyp_.cls_pw);
    }
  }
  terms.obj = cross_entropy(objectness, overlap, hyp_.obj_pw);
  return terms;
}

Losses DetectionLoss::operator()(const Maps& maps, const torch::Tensor& targets, std::int64_t height,
                                 std::int64_t width) const {
  return sum_levels(maps, heads_, hyp_, height, width, [&](std::size_t level) {
    return of_level(maps[level], heads_[level], targets, height, width);
  });
}

}  // namespace sparsify::detection
