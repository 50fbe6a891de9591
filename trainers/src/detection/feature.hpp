// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace sparsify::detection {

/// What a builder knows of a block's output.
struct Feature {
  std::int64_t channels = 3;
  double stride = 1;  ///< side of an element in pixels of the network's input
};

}  // namespace sparsify::detection
