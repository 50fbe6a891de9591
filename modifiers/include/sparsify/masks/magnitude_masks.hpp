// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <vector>

#include "sparsify/masks/mask_type.hpp"
#include "sparsify/masks/smallest.hpp"
#include "sparsify/parameters.hpp"

namespace sparsify {

/// One mask for each parameter: of what `type` removes together, the `sparsity` of smallest magnitude goes;
/// with `global` over all parameters together, else in each.
inline std::vector<at::Tensor> magnitude_masks(const Parameters& parameters, double sparsity, bool global,
                                               const MaskType& type = {}) {
  std::vector<std::vector<at::Tensor>> sets;
  std::vector<std::int64_t> pruned;
  for (const auto& parameter : parameters) {
    if (sets.empty() || !global) sets.emplace_back(), pruned.push_back(0);
    sets.back().push_back(type.units(parameter.tensor));
    pruned.back() += sets.back().back().numel();
  }
  for (auto& count : pruned) count = std::llround(sparsity * static_cast<double>(count));
  std::vector<at::Tensor> masks;
  for (const auto& set : smallest_magnitude_masks(sets, pruned))
    for (const auto& kept : set) masks.push_back(type.mask(kept, parameters[masks.size()].tensor));
  return masks;
}

}  // namespace sparsify
