// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace sparsify::detection {

/// What lies beside an image in the network's input, in all three channels, as in Ultralytics.
inline constexpr std::uint8_t kGrey = 114;

}  // namespace sparsify::detection
