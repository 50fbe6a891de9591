// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "detection/darknet_config.hpp"

namespace sparsify::detection {

/// Throws Error with file and line for keys that darknet's layers of this kind do not have, and for those
/// that would make it compute something else than we do. Keys that only darknet's training reads pass.
void check_keys(const DarknetSection& section);

}  // namespace sparsify::detection
