// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <torch/torch.h>

#include <cstdint>

namespace sparsify::detection {

/// Which cells of a head's map are to learn which objects. All tensors have one row a match.
struct Matches {
  torch::Tensor image, anchor, row, column;  ///< [n] int64: the place in the map
  torch::Tensor box;                         ///< [n, 4]: centre from the cell's corner, size; in cells
  torch::Tensor anchor_size;                 ///< [n, 2] in cells
  torch::Tensor label;                       ///< [n] int64
};

/// `targets`: [objects, 6] as in DetectionBatch; `anchors`: [anchors, 2], width and height in cells. An
/// object is learnt by every anchor whose sides differ from its by a factor below `anchor_t`, in the cell of
/// its centre and in those neighbours within the map whose predictions reach that centre. `reach`: how far
/// that is beyond a cell's edge, 0 to 0.5 cells.
Matches match_targets(const torch::Tensor& targets, const torch::Tensor& anchors, std::int64_t rows,
                      std::int64_t columns, double anchor_t, double reach);

}  // namespace sparsify::detection
