// SPDX-License-Identifier: Apache-2.0
#include "detection/loss_terms.hpp"

#include <algorithm>
#include <numeric>

#include "sparsify/error.hpp"

namespace sparsify::detection {
namespace {

constexpr double kLargestLogSize = 8;  // exp of it overflows nothing, and no box is 3,000 anchors wide

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

}  // namespace

torch::Tensor no_loss(const torch::Tensor& like) { return torch::zeros({}, like.options()); }

Losses sum_levels(const Maps& maps, const std::vector<DetectionHead>& heads, const Hyperparameters& hyp,
                  std::int64_t height, std::int64_t width,
                  const std::function<LossTerms(std::size_t level)>& of_level) {
  if (maps.size() != heads.size())
    throw Error("expected " + std::to_string(heads.size()) + " maps, one for each head, got " +
                std::to_string(maps.size()));
  const auto weights = balance(maps.size());
  const auto options = maps.front().options().dtype(torch::kFloat);
  auto box = torch::zeros({}, options), obj = torch::zeros({}, options), cls = torch::zeros({}, options);
  const auto order = finest_first(maps);
  for (std::size_t level = 0; level < order.size(); ++level) {
    const auto terms = of_level(order[level]);
    box = box + terms.box, obj = obj + terms.obj * weights[level], cls = cls + terms.cls;
  }
  const double per_level = 3.0 / static_cast<double>(maps.size());
  const double larger = static_cast<double>(std::max(height, width)) / 640;
  const auto classes = static_cast<double>(heads.front().classes);
  box = box * (hyp.box * per_level);
  obj = obj * (hyp.obj * per_level * larger * larger);
  cls = cls * (hyp.cls * per_level * classes / 80);
  return {box + obj + cls, box.detach(), obj.detach(), cls.detach()};
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

torch::Tensor boxes_of(const torch::Tensor& raw, const DetectionHead& head, const torch::Tensor& anchors) {
  const auto place = raw.narrow(1, 0, 2).sigmoid(), size = raw.narrow(1, 2, 2);
  if (head.coding == BoxCoding::kUltralytics)
    return torch::cat({place * 2 - 0.5, (size.sigmoid() * 2).square() * anchors}, 1);
  return torch::cat(
      {place * head.scale_xy - 0.5 * (head.scale_xy - 1), size.clamp_max(kLargestLogSize).exp() * anchors},
      1);
}

}  // namespace sparsify::detection
