// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

#include "sparsify/detection/detector.hpp"
#include "sparsify/detection/hyperparameters.hpp"

namespace sparsify::detection {

struct LossTerms;

/// Scalars, float32, means over a batch. The parts are without gradients and hold their gains: they add up to
/// the total.
struct Losses {
  torch::Tensor total, box, obj, cls;
};

/// The loss of the YOLO family as Ultralytics trains it: 1 - CIoU of matched boxes (Zheng et al. 2020, arXiv
/// 1911.08287), binary cross entropy of objectness, whose target is the overlap, and of classes. Every anchor
/// that fits an object learns it, in the object's cell and in up to two neighbours, where the head's coding
/// can reach it from there (darknet's without scale_x_y cannot).
class DetectionLoss {
 public:
  DetectionLoss(std::vector<DetectionHead> heads, const Hyperparameters& hyp);

  /// `maps`: raw, one a head, any float type. `targets`: [objects, 6] as in DetectionBatch, on the maps'
  /// device. `height`, `width`: of the images, in pixels. Throws Error unless there is a map for every head.
  Losses operator()(const Maps& maps, const torch::Tensor& targets, std::int64_t height,
                    std::int64_t width) const;

 private:
  LossTerms of_level(const torch::Tensor& map, const DetectionHead& head, const torch::Tensor& targets,
                     std::int64_t height, std::int64_t width) const;
  torch::Tensor cross_entropy(const torch::Tensor& logits, const torch::Tensor& expected,
                              double positive_weight) const;

  std::vector<DetectionHead> heads_;
  Hyperparameters hyp_;
};

/// Complete IoU of boxes [n, 4, ...] (centre x, y, width, height): the overlap less what centres and shapes
/// differ by. [n, ...]; gradients reach both.
torch::Tensor complete_iou(const torch::Tensor& a, const torch::Tensor& b);

}  // namespace sparsify::detection
