// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "sparsify/detection/anchors.hpp"
#include "sparsify/trainers/network.hpp"

namespace sparsify::detection {

/// How the raw numbers of a head become boxes.
enum class BoxCoding {
  kDarknet,      ///< centre sigma(t), size exp(t) * anchor (Redmon & Farhadi 2018, arXiv 1804.02767)
  kUltralytics,  ///< centre 2 sigma(t) - 0.5, size (2 sigma(t))^2 * anchor
};

/// One output of a detector: a map with anchors * (5 + classes) channels.
struct DetectionHead {
  Anchors anchors;
  std::int64_t classes = 80;
  BoxCoding coding = BoxCoding::kDarknet;
  double scale_xy = 1;  ///< kDarknet: how far centres reach over their cell, `scale_x_y` in .cfg files
  double stride = 0;    ///< side of a cell in pixels of the network's input
};

using Maps = std::vector<torch::Tensor>;

/// Of each of them.
std::vector<Anchors> anchors_of(const std::vector<DetectionHead>& heads);

/// One step of a detector: reads the outputs of earlier steps, one after the other, and gives its own.
class Block : public torch::nn::Module {
 public:
  virtual Maps forward(const Maps& inputs) = 0;
};

/// A block whose outputs are the detector's: the raw map of every one of its heads.
class HeadBlock : public Block {
 public:
  virtual std::vector<DetectionHead> heads() const = 0;
  /// What `detection::change_classes` asks of it.
  virtual void change_classes(std::int64_t classes) = 0;
  /// Of each head, as many as it has.
  virtual void set_anchors(const std::vector<Anchors>& anchors) = 0;
};

/// A network of numbered blocks with several outputs, as darknet and Ultralytics describe them.
class Detector : public Network {
 public:
  Detector() { register_module("model", model_); }

  /// `from`: what the block reads, as positions of earlier ones; -1 is the image.
  void add(std::vector<std::int64_t> from, std::shared_ptr<Block> block);

  /// Images [N, 3, H, W], RGB from 0 to 1; gives the raw map of every head, [N, anchors * (5 + classes), h,
  /// w].
  Maps forward(const torch::Tensor& images);
  Outputs outputs(const torch::Tensor& images) override { return forward(images); }

  /// In the order of the maps. Anchors are those that the weights say where these hold some.
  std::vector<DetectionHead> heads() const;
  std::vector<Anchors> anchors() const { return anchors_of(heads()); }
  /// Throws Error unless there are as many heads, each with as many anchors as before.
  void set_anchors(const std::vector<Anchors>& anchors);
  std::vector<std::shared_ptr<Block>> blocks() const;
  std::int64_t image_height = 416, image_width = 416;  ///< what it was made for, in pixels
  std::int64_t largest_stride = 1;  ///< of its maps, in pixels: sides of images are multiples of it

 private:
  struct Step {
    std::vector<std::int64_t> from;
    std::shared_ptr<Block> block;
    std::size_t last_reader = 0;  ///< the number of blocks that must have run before nobody reads it any more
    std::shared_ptr<HeadBlock> head_block{};  ///< the block, if it is one
  };

  torch::nn::ModuleList model_;  ///< names parameters "model.<block>...."
  std::vector<Step> steps_;
};

/// Boxes of raw maps of a batch of images of `height` x `width` pixels: [N, boxes, 5 + classes], with centre
/// x, y, width, height in pixels, objectness and class probabilities from 0 to 1. Heads follow each other;
/// within one, anchors, then rows, then columns.
torch::Tensor decode(const Maps& maps, const std::vector<DetectionHead>& heads, std::int64_t height,
                     std::int64_t width);

}  // namespace sparsify::detection
