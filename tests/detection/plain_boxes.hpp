// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "sparsify/detection/detector.hpp"

// Boxes of a detector's maps in plain doubles, and heads and maps to try losses on.

namespace detection_test {

using sparsify::detection::BoxCoding;
using sparsify::detection::DetectionHead;
using sparsify::detection::Maps;

inline double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

struct Box {
  double x, y, w, h;
};

inline double complete_iou_by_hand(const Box& a, const Box& b) {
  const double across = std::min(a.x + a.w / 2, b.x + b.w / 2) - std::max(a.x - a.w / 2, b.x - b.w / 2),
               down = std::min(a.y + a.h / 2, b.y + b.h / 2) - std::max(a.y - a.h / 2, b.y - b.h / 2);
  const double shared = std::max(0.0, across) * std::max(0.0, down);
  const double iou = shared / (a.w * a.h + b.w * b.h - shared);
  const double wide = std::max(a.x + a.w / 2, b.x + b.w / 2) - std::min(a.x - a.w / 2, b.x - b.w / 2),
               high = std::max(a.y + a.h / 2, b.y + b.h / 2) - std::min(a.y - a.h / 2, b.y - b.h / 2);
  const double distance = std::pow(a.x - b.x, 2) + std::pow(a.y - b.y, 2);
  const double v = 4 / (M_PI * M_PI) * std::pow(std::atan(b.w / b.h) - std::atan(a.w / a.h), 2);
  return iou - distance / (wide * wide + high * high) - v * v / (v - iou + 1);
}

/// In cells, from the corner of its own; `aw`, `ah`: the anchor in cells.
inline Box decoded(double x, double y, double w, double h, const DetectionHead& head, double aw, double ah) {
  if (head.coding == BoxCoding::kUltralytics)
    return {2 * sigmoid(x) - 0.5, 2 * sigmoid(y) - 0.5, 4 * sigmoid(w) * sigmoid(w) * aw,
            4 * sigmoid(h) * sigmoid(h) * ah};
  const double shift = (head.scale_xy - 1) / 2;
  return {sigmoid(x) * head.scale_xy - shift, sigmoid(y) * head.scale_xy - shift, std::exp(w) * aw,
          std::exp(h) * ah};
}

inline std::vector<DetectionHead> heads_of(std::size_t levels, std::int64_t classes, BoxCoding coding) {
  std::vector<DetectionHead> heads;
  for (std::size_t i = 0; i < levels; ++i) {
    const double side = 12.0 * static_cast<double>(1 << i);
    heads.push_back(
        {{{side, side}, {side, 2 * side}, {3 * side, side}}, classes, coding, 1.1, 8.0 * (1 << i)});
  }
  return heads;
}

inline Maps random_maps(const std::vector<DetectionHead>& heads, std::int64_t images) {
  Maps maps;
  for (std::size_t i = 0; i < heads.size(); ++i)
    maps.push_back(torch::randn({images, 3 * (5 + heads[i].classes), 8 >> i, 16 >> i}));
  return maps;
}

}  // namespace detection_test
