// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/ops/isfinite.h>

#include <cstdint>
#include <string>

#include "sparsify/masks/mask_type.hpp"
#include "sparsify/state.hpp"

namespace sparsify {

/// Notes for the user what is strange about weights that are about to be pruned.
inline void note_odd_weights(State& state, const Parameters& parameters, const MaskType& type = {}) {
  const auto note = [&](const std::string& text) { state.notes.push_back("pruning: " + text); };
  for (const auto& parameter : parameters) {
    const auto weight = parameter.tensor.detach();
    const auto odd = weight.numel() - at::isfinite(weight).sum().item<std::int64_t>();
    if (odd > 0)
      note(std::to_string(odd) + " values of " + parameter.name +
           " are not finite: they count as the largest and stay");
    if (weight.numel() > 0 && count_zeros(weight) == weight.numel())
      note(parameter.name + " is all zero before it is pruned");
    if (type.is_wider_than(weight))
      note(parameter.name + " has fewer channels than a block: its blocks are smaller");
  }
}

/// Notes weights of which nothing is left.
inline void note_emptied(State& state, const Parameters& parameters) {
  for (const auto& parameter : parameters)
    if (parameter.tensor.numel() > 0 && count_zeros(parameter.tensor) == parameter.tensor.numel())
      state.notes.push_back("pruning: nothing is left of " + parameter.name);
}

}  // namespace sparsify
