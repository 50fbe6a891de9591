// SPDX-License-Identifier: Apache-2.0
#include "detection/match_targets.hpp"

namespace sparsify::detection {
namespace {

// Whether the lower neighbour reaches the centre, in each direction: [n, 2]; the first cell has none, and a
// centre on the map's far edge lies in the last cell already.
torch::Tensor reached_from_below(const torch::Tensor& centres, const torch::Tensor& grid, double reach) {
  return centres.remainder(1).lt(reach).logical_and(centres.gt(1)).logical_and(centres.lt(grid));
}

// The same of the upper neighbour. A centre on the border between two cells is the upper one's own.
torch::Tensor reached_from_above(const torch::Tensor& centres, const torch::Tensor& grid, double reach) {
  const auto part = (grid - centres).remainder(1);
  return part.lt(reach).logical_and(part.gt(0)).logical_and(centres.lt(grid - 1));
}

}  // namespace

Matches match_targets(const torch::Tensor& targets, const torch::Tensor& anchors, std::int64_t rows,
                      std::int64_t columns, double anchor_t, double reach) {
  const auto grid = torch::tensor({columns, rows}, targets.options());
  const auto sizes = targets.narrow(1, 4, 2) * grid;
  const auto ratio = sizes.unsqueeze(0) / anchors.unsqueeze(1);
  const auto fits = torch::max(ratio, ratio.reciprocal()).amax(2).lt(anchor_t).nonzero();
  const auto anchor = fits.select(1, 0), object = fits.select(1, 1);

  const auto centres = targets.index_select(0, object).narrow(1, 2, 2) * grid;
  const auto down = reached_from_below(centres, grid, reach), up = reached_from_above(centres, grid, reach);
  const auto own = torch::ones({centres.size(0)}, down.options());
  const auto chosen =
      torch::stack({own, down.select(1, 0), down.select(1, 1), up.select(1, 0), up.select(1, 1)})
          .nonzero();  // neighbour, then match
  const auto steps =
      torch::tensor({{0.F, 0.F}, {-0.5F, 0.F}, {0.F, -0.5F}, {0.5F, 0.F}, {0.F, 0.5F}}, targets.options());
  const auto match = chosen.select(1, 1);
  const auto places = centres.index_select(0, match);
  auto cell = (places + steps.index_select(0, chosen.select(1, 0))).floor();
  cell = cell.clamp(torch::zeros_like(grid), grid - 1);

  Matches found;
  const auto which = object.index_select(0, match);
  const auto rows_of = targets.index_select(0, which);
  found.image = rows_of.select(1, 0).to(torch::kLong);
  found.label = rows_of.select(1, 1).to(torch::kLong);
  found.anchor = anchor.index_select(0, match);
  found.column = cell.select(1, 0).to(torch::kLong);
  found.row = cell.select(1, 1).to(torch::kLong);
  found.box = torch::cat({places - cell, sizes.index_select(0, which)}, 1);
  found.anchor_size = anchors.index_select(0, found.anchor);
  return found;
}

}  // namespace sparsify::detection
