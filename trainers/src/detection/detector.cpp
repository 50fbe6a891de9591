// SPDX-License-Identifier: Apache-2.0
#include "sparsify/detection/detector.hpp"

#include <algorithm>

#include "sparsify/error.hpp"

namespace sparsify::detection {
namespace {

// [1, anchors, 2, 1, 1]
torch::Tensor anchor_sizes(const DetectionHead& head, const torch::TensorOptions& options) {
  std::vector<float> sides;
  for (const auto& [width, height] : head.anchors)
    for (const double side : {width, height}) sides.push_back(static_cast<float>(side));
  return torch::tensor(sides).to(options).view({1, -1, 2, 1, 1});
}

// The corner of every cell, [1, 1, 2, h, w].
torch::Tensor cells(std::int64_t h, std::int64_t w, const torch::TensorOptions& options) {
  const auto grid = torch::meshgrid({torch::arange(h, options), torch::arange(w, options)}, "ij");
  return torch::stack({grid[1], grid[0]}).view({1, 1, 2, h, w});
}

torch::Tensor decode(const torch::Tensor& map, const DetectionHead& head, std::int64_t height,
                     std::int64_t width) {
  const auto anchors = static_cast<std::int64_t>(head.anchors.size());
  const auto h = map.size(2), w = map.size(3);
  if (map.size(1) != anchors * (5 + head.classes))
    throw Error("a head of " + std::to_string(anchors) + " anchors and " + std::to_string(head.classes) +
                " classes has " + std::to_string(anchors * (5 + head.classes)) + " channels; got " +
                std::to_string(map.size(1)));
  const auto raw = map.view({map.size(0), anchors, 5 + head.classes, h, w});
  const auto options = map.options().requires_grad(false);
  const std::vector<double> sides = {static_cast<double>(width) / static_cast<double>(w),
                                     static_cast<double>(height) / static_cast<double>(h)};
  const auto stride = torch::tensor(sides).to(options).view({1, 1, 2, 1, 1});
  const auto place = raw.narrow(2, 0, 2).sigmoid(), size = raw.narrow(2, 2, 2);
  torch::Tensor centre, extent;
  if (head.coding == BoxCoding::kUltralytics) {
    centre = place * 2 - 0.5;
    extent = (size.sigmoid() * 2).square();
  } else {
    centre = place * head.scale_xy - 0.5 * (head.scale_xy - 1);
    extent = size.exp();
  }
  const auto boxes =
      torch::cat({(centre + cells(h, w, options)) * stride, extent * anchor_sizes(head, options),
                  raw.narrow(2, 4, 1 + head.classes).sigmoid()},
                 2);
  return boxes.permute({0, 1, 3, 4, 2}).reshape({map.size(0), anchors * h * w, 5 + head.classes});
}

// "3, 3, 3".
std::string numbers_of(const std::vector<Anchors>& anchors) {
  std::string text;
  for (const auto& each : anchors) text += (text.empty() ? "" : ", ") + std::to_string(each.size());
  return text;
}

}  // namespace

void Detector::add(std::vector<std::int64_t> from, std::shared_ptr<Block> block) {
  const auto here = static_cast<std::int64_t>(steps_.size());
  for (const auto source : from)
    if (source < -1 || source >= here)
      throw Error("block " + std::to_string(here) + " reads block " + std::to_string(source) +
                  ", which does not come before it");
  for (const auto source : from) {
    if (source < 0) continue;
    auto& last_reader = steps_[static_cast<std::size_t>(source)].last_reader;
    last_reader = std::max(last_reader, steps_.size() + 1);
  }
  model_->push_back(block);
  auto head_block = std::dynamic_pointer_cast<HeadBlock>(block);
  steps_.push_back({std::move(from), std::move(block), 0, std::move(head_block)});
}

std::vector<std::shared_ptr<Block>> Detector::blocks() const {
  std::vector<std::shared_ptr<Block>> blocks;
  blocks.reserve(steps_.size());
  for (const auto& step : steps_) blocks.push_back(step.block);
  return blocks;
}

std::vector<DetectionHead> Detector::heads() const {
  std::vector<DetectionHead> heads;
  for (const auto& step : steps_)
    if (step.head_block)
      for (auto& head : step.head_block->heads()) heads.push_back(std::move(head));
  return heads;
}

std::vector<Anchors> anchors_of(const std::vector<DetectionHead>& heads) {
  std::vector<Anchors> anchors;
  for (const auto& head : heads) anchors.push_back(head.anchors);
  return anchors;
}

void Detector::set_anchors(const std::vector<Anchors>& anchors) {
  const auto expected = numbers_of(this->anchors()), given = numbers_of(anchors);
  if (given != expected) throw Error("anchors: the heads have " + expected + "; got " + given);
  auto next = anchors.begin();
  for (const auto& step : steps_) {
    if (!step.head_block) continue;
    const auto end = next + static_cast<std::ptrdiff_t>(step.head_block->heads().size());
    step.head_block->set_anchors({next, end});
    next = end;
  }
}

Maps Detector::forward(const torch::Tensor& images) {
  const Maps image = {images};
  std::vector<Maps> outputs;
  Maps maps;
  for (const auto& step : steps_) {
    Maps inputs;
    for (const auto source : step.from) {
      const auto& read = source < 0 ? image : outputs[static_cast<std::size_t>(source)];
      inputs.insert(inputs.end(), read.begin(), read.end());
    }
    outputs.push_back(step.block->forward(inputs));
    if (step.head_block) maps.insert(maps.end(), outputs.back().begin(), outputs.back().end());
    for (const auto source : step.from)
      if (source >= 0 && steps_[static_cast<std::size_t>(source)].last_reader <= outputs.size())
        outputs[static_cast<std::size_t>(source)].clear();  // its memory is free for the next blocks
  }
  return maps;
}

torch::Tensor decode(const Maps& maps, const std::vector<DetectionHead>& heads, std::int64_t height,
                     std::int64_t width) {
  if (maps.size() != heads.size())
    throw Error("expected " + std::to_string(heads.size()) + " maps, one for each head, got " +
                std::to_string(maps.size()));
  std::vector<torch::Tensor> boxes;
  boxes.reserve(maps.size());
  for (std::size_t i = 0; i < maps.size(); ++i) boxes.push_back(decode(maps[i], heads[i], height, width));
  return torch::cat(boxes, 1);
}

}  // namespace sparsify::detection
