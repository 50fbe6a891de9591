// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "sparsify/modifiers/quantization.hpp"

namespace sparsify {

/// How a recipe quantizes; nothing when it does not.
std::optional<Quantization::Options> quantization_of(const Recipe& recipe);

/// The scheme a recipe quantizes for ("cpu" or "gpu"), empty when it does not quantize.
std::string quantization_scheme(const Recipe& recipe);

/// How to quantize a trained model anew: the recipe's choice of layers and of how they are rounded, for
/// another scheme and observer. `notes`: what that scheme cannot keep.
Quantization::Options requantization(const Recipe& recipe, const std::string& scheme,
                                     const std::string& observer, std::vector<std::string>& notes);

}  // namespace sparsify
