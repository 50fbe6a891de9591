// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <utility>
#include <vector>

namespace sparsify::detection {

/// Width and height of each in pixels of the network's input.
using Anchors = std::vector<std::pair<double, double>>;

}  // namespace sparsify::detection
