// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace sparsify::detection {

/// What a builder knows of a block's output.
struct Feature {
  std::int64_t channels = 3;
  double stride = 1;  ///< side of an element in pixels of the network's input
};

/// The largest stride of a network in whole pixels, after a block that gives `output`.
inline std::int64_t larger_stride(std::int64_t largest, const Feature& output) {
  return std::max(largest, static_cast<std::int64_t>(std::ceil(output.stride)));
}

}  // namespace sparsify::detection
