// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "detection/blocks.hpp"
#include "sparsify/detection/detector.hpp"

namespace sparsify::detection {

/// Darknet's [yolo]: what it reads is the map.
class YoloBlock : public HeadBlock {
 public:
  /// `source`: the block that makes the map, which is not necessarily a convolution.
  YoloBlock(DetectionHead head, std::shared_ptr<Block> source);
  Maps forward(const Maps& inputs) override { return inputs; }
  std::vector<DetectionHead> heads() const override { return {head_}; }
  void change_classes(std::int64_t classes) override;
  void set_anchors(const std::vector<Anchors>& anchors) override { head_.anchors = anchors.at(0); }

 private:
  DetectionHead head_;
  std::shared_ptr<ConvBlock> source_;  ///< a child of the detector, not of this block
};

/// Ultralytics' Detect: a 1x1 convolution of every input makes a map. "m" and the buffer "anchors".
class DetectBlock : public HeadBlock {
 public:
  /// `channels`: of each head's input. All heads have the same number of anchors.
  DetectBlock(std::vector<DetectionHead> heads, const std::vector<std::int64_t>& channels);
  Maps forward(const Maps& inputs) override;
  std::vector<DetectionHead> heads() const override;
  void change_classes(std::int64_t classes) override;
  void set_anchors(const std::vector<Anchors>& anchors) override;

 private:
  torch::nn::Conv2dImpl& convolution(std::size_t head);
  void initialise();

  torch::nn::ModuleList m_;
  torch::Tensor anchors_;  ///< [heads, anchors, 2], in cells: weights bring those they were trained with
  std::vector<DetectionHead> heads_;
};

}  // namespace sparsify::detection
