// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <torch/torch.h>

#include <memory>

#include "sparsify/detection/loader.hpp"
#include "sparsify/detection/loss.hpp"
#include "sparsify/detection/ultralytics.hpp"
#include "training.hpp"

namespace sparsify::bench {

/// YOLOv3 for COCO's 80 classes, freshly initialised, and its loss; by itself on a batch of noise.
struct YoloV3 : Training {
  static constexpr int64_t kImageSize = 416, kBatchSize = 4, kClasses = 80;
  static constexpr int64_t kObjects = 7;  ///< in an image, as COCO has them

  explicit YoloV3(const Setup& setup = {}) : YoloV3(detection::build_ultralytics("yolov3"), setup) {}

  void learn(const detection::DetectionBatch& from) {
    Training::learn(from.images, [&](const Outputs& outputs) {
      return loss(outputs, from.targets, from.images.size(2), from.images.size(3)).total;
    });
  }
  void step() { learn(batch); }

  detection::DetectionLoss loss;
  detection::DetectionBatch batch;

 private:
  YoloV3(const std::shared_ptr<detection::Detector>& detector, const Setup& setup)
      : Training(detector, setup), loss(detector->heads(), {}) {
    torch::manual_seed(0);
    batch.images = torch::rand({kBatchSize, 3, kImageSize, kImageSize}).contiguous(layout);
    batch.targets = random_targets();
  }

  /// Objects anywhere, with sides from 1/32 of the image's to half of it.
  static torch::Tensor random_targets() {
    constexpr int64_t kCount = kBatchSize * kObjects;
    const auto image = torch::arange(kBatchSize).repeat_interleave(kObjects).to(torch::kFloat);
    const auto label = torch::randint(kClasses, {kCount}).to(torch::kFloat);
    const auto centre = torch::rand({kCount, 2}) * 0.5 + 0.25;
    const auto size = torch::pow(16, torch::rand({kCount, 2})) / 32;
    return torch::cat({torch::stack({image, label}, 1), centre, size}, 1);
  }
};

}  // namespace sparsify::bench
