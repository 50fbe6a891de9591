// SPDX-License-Identifier: Apache-2.0
#include "sparsify/detection/loss.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "detection/match_targets.hpp"
#include "sparsify/error.hpp"

namespace sparsify::detection {
namespace {

constexpr double kTiny = 1e-7;
constexpr double kLargestLogSize = 8;  // exp of it overflows nothing, and no box is 3,000 anchors wide
constexpr double kFocalAlpha = 0.25;

// How much the objectness of each level counts, the finest first.
std::vector<double> balance(std::size_t levels) {
  if (levels == 3) return {4, 1, 0.4};
  std::vector<double> weights = {4, 1, 0.25, 0.06, 0.02};
  weights.resize(levels, 0.02);
  return weights;
}

std::vector<std::size_t> finest_first(const Maps& maps) {
  std::vector<std::size_t> order(maps.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return maps[a].size(2) > maps[b].size(2); });
  return order;
}

torch::Tensor anchors_in_cells(const DetectionHead& head, const torch::Tensor& map, std::int64_t height,
                               std::int64_t width) {
  std::vector<double> sizes;
  for (const auto& [across, down] : head.anchors) {
    sizes.push_back(across * static_cast<double>(map.size(3)) / static_cast<double>(width));
    sizes.push_back(down * static_cast<double>(map.size(2)) / static_cast<double>(height));
  }
  return torch::tensor(sizes, torch::kFloat).view({-1, 2}).to(map.device());
}

// Boxes in cells, as `Matches::box`, of raw numbers [n, >= 4].
torch::Tensor boxes_of(const torch::Tensor& raw, const DetectionHead& head, const torch::Tensor& anchors) {
  const auto place = raw.narrow(1, 0, 2).sigmoid(), size = raw.narrow(1, 2, 2);
  if (head.coding == BoxCoding::kUltralytics)
    return torch::cat({place * 2 - 0.5, (size.sigmoid() * 2).square() * anchors}, 1);
  return torch::cat(
      {place * head.scale_xy - 0.5 * (head.scale_xy - 1), size.clamp_max(kLargestLogSize).exp() * anchors},
      1);
}

// How far beyond its cell's edge a head can place a centre, in cells; half a cell is enough.
double reach_of(const DetectionHead& head) {
  return head.coding == BoxCoding::kUltralytics ? 0.5 : std::clamp((head.scale_xy - 1) / 2, 0.0, 0.5);
}

torch::Tensor no_loss(const torch::Tensor& like) { return torch::zeros({}, like.options()); }

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
  const auto weight = (shape / (shape - iou + (1 + kTiny))).detach();
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

DetectionLoss::Parts DetectionLoss::of_level(const torch::Tensor& map, const DetectionHead& head,
                                             const torch::Tensor& targets, std::int64_t height,
                                             std::int64_t width) const {
  const auto anchors = static_cast<std::int64_t>(head.anchors.size());
  const auto rows = map.size(2), columns = map.size(3);
  const auto raw = map.view({map.size(0), anchors, 5 + head.classes, rows, columns}).to(torch::kFloat);
  const auto sizes = anchors_in_cells(head, map, height, width);
  const auto matches = match_targets(targets, sizes, rows, columns, hyp_.anchor_t, reach_of(head));
  const auto objectness = raw.select(2, 4);
  auto overlap = torch::zeros(objectness.sizes(), raw.options().requires_grad(false));
  Parts parts{no_loss(raw), {}, no_loss(raw)};
  if (matches.image.size(0) > 0) {
    using torch::indexing::Slice;
    const auto found = raw.index({matches.image, matches.anchor, Slice(), matches.row, matches.column});
    const auto iou = complete_iou(boxes_of(found, head, matches.anchor_size), matches.box);
    parts.box = (1 - iou).mean();
    // Where objects meet in a cell, the best overlap counts.
    const auto place =
        ((matches.image * anchors + matches.anchor) * rows + matches.row) * columns + matches.column;
    overlap.view(-1).scatter_reduce_(0, place, iou.detach().clamp_min(0), "amax");
    if (head.classes > 1) {
      const double off = hyp_.label_smoothing / 2;
      auto expected = torch::full({found.size(0), head.classes}, off, found.options().requires_grad(false));
      expected.scatter_(1, matches.label.unsqueeze(1), 1 - off);
      parts.cls = cross_entropy(found.narrow(1, 5, head.classes), expected, hyp_.cls_pw);
    }
  }
  parts.obj = cross_entropy(objectness, overlap, hyp_.obj_pw);
  return parts;
}

Losses DetectionLoss::operator()(const Maps& maps, const torch::Tensor& targets, std::int64_t height,
                                 std::int64_t width) const {
  if (maps.size() != heads_.size())
    throw Error("expected " + std::to_string(heads_.size()) + " maps, one for each head, got " +
                std::to_string(maps.size()));
  const auto weights = balance(maps.size());
  const auto options = maps.front().options().dtype(torch::kFloat);
  auto box = torch::zeros({}, options), obj = torch::zeros({}, options), cls = torch::zeros({}, options);
  const auto order = finest_first(maps);
  for (std::size_t level = 0; level < order.size(); ++level) {
    const auto parts = of_level(maps[order[level]], heads_[order[level]], targets, height, width);
    box = box + parts.box, obj = obj + parts.obj * weights[level], cls = cls + parts.cls;
  }
  const double per_level = 3.0 / static_cast<double>(maps.size());
  const double larger = static_cast<double>(std::max(height, width)) / 640;
  const auto classes = static_cast<double>(heads_.front().classes);
  box = box * (hyp_.box * per_level);
  obj = obj * (hyp_.obj * per_level * larger * larger);
  cls = cls * (hyp_.cls * per_level * classes / 80);
  return {box + obj + cls, box.detach(), obj.detach(), cls.detach()};
}

}  // namespace sparsify::detection
