// SPDX-License-Identifier: Apache-2.0
#include "detection/ultralytics_blocks.hpp"

#include <string>
#include <utility>

namespace sparsify::detection {

BottleneckBlock::BottleneckBlock(const ConvOptions& first, const ConvOptions& second, bool add_input)
    : cv1_(register_module("cv1", std::make_shared<ConvBlock>(first))),
      cv2_(register_module("cv2", std::make_shared<ConvBlock>(second))),
      add_input_(add_input) {}

Maps BottleneckBlock::forward(const Maps& inputs) {
  auto outputs = cv2_->forward(cv1_->forward(inputs));
  if (add_input_) outputs.at(0) = inputs.at(0) + outputs.at(0);
  return outputs;
}

SppBlock::SppBlock(const ConvOptions& first, const ConvOptions& second, std::vector<std::int64_t> sizes)
    : cv1_(register_module("cv1", std::make_shared<ConvBlock>(first))),
      cv2_(register_module("cv2", std::make_shared<ConvBlock>(second))),
      sizes_(std::move(sizes)) {}

Maps SppBlock::forward(const Maps& inputs) {
  auto parts = cv1_->forward(inputs);
  for (const auto size : sizes_) parts.push_back(torch::max_pool2d(parts.front(), size, 1, size / 2));
  return cv2_->forward({torch::cat(parts, 1)});
}

Maps PaddedMaxPoolBlock::forward(const Maps& inputs) {
  return {torch::max_pool2d(inputs.at(0), size_, stride_, padding_)};
}

Maps ZeroPadBlock::forward(const Maps& inputs) { return {torch::constant_pad_nd(inputs.at(0), sides_)}; }

ChainBlock::ChainBlock(std::vector<std::shared_ptr<Block>> blocks) : blocks_(std::move(blocks)) {
  for (std::size_t i = 0; i < blocks_.size(); ++i) register_module(std::to_string(i), blocks_[i]);
}

Maps ChainBlock::forward(const Maps& inputs) {
  auto maps = inputs;
  for (const auto& block : blocks_) maps = block->forward(maps);
  return maps;
}

}  // namespace sparsify::detection
