// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <torch/torch.h>

#include <array>
#include <cstdint>
#include <vector>

namespace sparsify::detection {

/// An object that was found: corners in pixels.
struct Detection {
  float x1 = 0, y1 = 0, x2 = 0, y2 = 0;
  float score = 0;  ///< objectness times class probability
  std::int64_t label = 0;
};

/// Intersection over union of two boxes; 0 when both are empty.
double iou(const Detection& a, const Detection& b);

struct NmsOptions {
  double confidence = 0.25;      ///< smallest score
  double iou = 0.45;             ///< boxes of one class that overlap more than this are one object
  std::int64_t max_det = 300;    ///< kept at most, the best ones
  std::int64_t max_nms = 30000;  ///< looked at, the best ones: bounds the time
  bool multi_label = false;      ///< a box may count for several classes, else for its likeliest one
};

/// Detections of one image, best first: of every class, boxes that overlap a better one are left out.
/// `boxes`: [n, 5 + classes] as from `decode`. Boxes of equal score keep their order, so that every run gives
/// the same.
std::vector<Detection> non_max_suppression(const torch::Tensor& boxes, const NmsOptions& options = {});

}  // namespace sparsify::detection
