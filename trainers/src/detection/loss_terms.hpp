// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "sparsify/detection/loss.hpp"

// What a detector's losses have in common, whoever they learn from.

namespace sparsify::detection {

/// Of one map: scalars, float32, with gradients and without gains.
struct LossTerms {
  torch::Tensor box, obj, cls;
};

torch::Tensor no_loss(const torch::Tensor& like);

/// The maps' terms with their gains: those of hyper-parameters, of each level's objectness, of the images'
/// size. `of_level` gives the terms of the map with this index. Throws Error unless there is a map for every
/// head.
Losses sum_levels(const Maps& maps, const std::vector<DetectionHead>& heads, const Hyperparameters& hyp,
                  std::int64_t height, std::int64_t width,
                  const std::function<LossTerms(std::size_t level)>& of_level);

/// A head's anchors in cells of its map, of images of `height` x `width` pixels: [anchors, 2], float32.
torch::Tensor anchors_in_cells(const DetectionHead& head, const torch::Tensor& map, std::int64_t height,
                               std::int64_t width);

/// Boxes [n, 4, ...] in cells, as `Matches::box`, of raw numbers [n, >= 4, ...]; `anchors`: [n, 2, ...], or
/// what is broadcast to it.
torch::Tensor boxes_of(const torch::Tensor& raw, const DetectionHead& head, const torch::Tensor& anchors);

}  // namespace sparsify::detection
