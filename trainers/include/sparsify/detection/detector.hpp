// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace sparsify::detection {

/// How the raw numbers of a head become boxes.
enum class BoxCoding {
  kDarknet,      ///< centre sigma(t), size exp(t) * anchor (Redmon & Farhadi 2018, arXiv 1804.02767)
  kUltralytics,  ///< centre 2 sigma(t) - 0.5, size (2 sigma(t))^2 * anchor
};

/// One output of a detector: a map with anchors * (5 + classes) channels.
struct DetectionHead {
  std::vector<std::pair<double, double>> anchors;  ///< width, height in pixels of the network's input
  std::int64_t classes = 80;
  BoxCoding coding = BoxCoding::kDarknet;
  double scale_xy = 1;  ///< kDarknet: how far centres reach over their cell, `scale_x_y` in .cfg files
};

/// One step of a detector: reads outputs of earlier steps.
class Block : public torch::nn::Module {
 public:
  virtual torch::Tensor forward(const std::vector<torch::Tensor>& inputs) = 0;
};

/// A network of numbered blocks with several outputs, as darknet and Ultralytics describe them.
class Detector : public torch::nn::Module {
 public:
  Detector() { register_module("model", model_); }

  /// `from`: what the block reads, as positions of earlier ones; -1 is the image.
  void add(std::vector<std::int64_t> from, std::shared_ptr<Block> block);
  /// The last block's output, or another's, is read as a head.
  void add_head(std::int64_t block, DetectionHead head);

  /// Images [N, 3, H, W], RGB from 0 to 1; gives the raw map of every head, [N, anchors * (5 + classes), h,
  /// w].
  std::vector<torch::Tensor> forward(const torch::Tensor& images);

  const std::vector<DetectionHead>& heads() const { return heads_; }
  std::vector<std::shared_ptr<Block>> blocks() const;
  std::int64_t image_height = 416, image_width = 416;  ///< what it was made for, in pixels

 private:
  struct Step {
    std::vector<std::int64_t> from;
    std::shared_ptr<Block> block;
    std::size_t last_reader = 0;  ///< the number of blocks that must have run before nobody reads it any more
  };
  static void note_reader(Step& step, std::size_t blocks_run);

  torch::nn::ModuleList model_;  ///< names parameters "model.<block>...."
  std::vector<Step> steps_;
  std::vector<std::int64_t> head_blocks_;
  std::vector<DetectionHead> heads_;
};

/// Boxes of raw maps of a batch of images of `height` x `width` pixels: [N, boxes, 5 + classes], with centre
/// x, y, width, height in pixels, objectness and class probabilities from 0 to 1. Heads follow each other;
/// within one, anchors, then rows, then columns.
torch::Tensor decode(const std::vector<torch::Tensor>& maps, const std::vector<DetectionHead>& heads,
                     std::int64_t height, std::int64_t width);

}  // namespace sparsify::detection
