// SPDX-License-Identifier: Apache-2.0
#include "detection/head_blocks.hpp"

#include <utility>

#include "detection/prediction.hpp"
#include "sparsify/error.hpp"

namespace sparsify::detection {
namespace {

torch::Tensor anchors_in_cells(const std::vector<DetectionHead>& heads) {
  std::vector<float> sides;
  for (const auto& head : heads)
    for (const auto& [width, height] : head.anchors)
      for (const double side : {width, height}) sides.push_back(static_cast<float>(side / head.stride));
  return torch::tensor(sides).view({static_cast<std::int64_t>(heads.size()), -1, 2});
}

}  // namespace

YoloBlock::YoloBlock(DetectionHead head, std::shared_ptr<Block> source)
    : head_(std::move(head)), source_(std::dynamic_pointer_cast<ConvBlock>(std::move(source))) {}

void YoloBlock::change_classes(std::int64_t classes) {
  if (!source_ || source_->bn || source_->conv->options.groups() != 1)
    throw Error(
        "the classes of a head can be changed where a convolution with bias, without groups, comes "
        "right before [yolo]; here is none");
  head_.classes = classes;
  initialise_prediction(*source_->conv, head_);
}

DetectBlock::DetectBlock(std::vector<DetectionHead> heads, const std::vector<std::int64_t>& channels)
    : anchors_(anchors_in_cells(heads)), heads_(std::move(heads)) {
  register_module("m", m_);
  register_buffer("anchors", anchors_);
  for (std::size_t i = 0; i < heads_.size(); ++i)
    m_->push_back(torch::nn::Conv2d(torch::nn::Conv2dOptions(channels.at(i), map_channels(heads_[i]), 1)));
  initialise();
}

torch::nn::Conv2dImpl& DetectBlock::convolution(std::size_t head) {
  return m_->at<torch::nn::Conv2dImpl>(head);
}

void DetectBlock::initialise() {
  for (std::size_t i = 0; i < heads_.size(); ++i) initialise_prediction(convolution(i), heads_[i]);
}

Maps DetectBlock::forward(const Maps& inputs) {
  Maps maps;
  for (std::size_t i = 0; i < heads_.size(); ++i) maps.push_back(convolution(i).forward(inputs.at(i)));
  return maps;
}

std::vector<DetectionHead> DetectBlock::heads() const {
  auto heads = heads_;
  const auto cells = anchors_.to(torch::kCPU, torch::kDouble).contiguous();
  const auto* side = cells.const_data_ptr<double>();
  for (auto& head : heads)
    for (auto& [width, height] : head.anchors) width = *side++ * head.stride, height = *side++ * head.stride;
  return heads;
}

void DetectBlock::change_classes(std::int64_t classes) {
  for (auto& head : heads_) head.classes = classes;
  initialise();
}

void DetectBlock::set_anchors(const std::vector<Anchors>& anchors) {
  for (std::size_t i = 0; i < heads_.size(); ++i) heads_[i].anchors = anchors.at(i);
  const torch::NoGradGuard no_grad;
  anchors_.copy_(anchors_in_cells(heads_));
}

}  // namespace sparsify::detection
