// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <limits>

namespace sparsify {

/// What is below `lowest` becomes it, and what is above `highest`: from 0 on for a ReLU, 0 to 6 for a ReLU6.
/// By default nothing is.
struct Clip {
  float lowest = -std::numeric_limits<float>::infinity();
  float highest = std::numeric_limits<float>::infinity();

  bool operator==(const Clip& other) const { return lowest == other.lowest && highest == other.highest; }
  bool operator!=(const Clip& other) const { return !(*this == other); }
};

}  // namespace sparsify
