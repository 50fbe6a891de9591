// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "detection/blocks.hpp"

namespace sparsify::detection {

/// "nn.SiLU()", "SiLU", "silu"; likewise LeakyReLU(0.1), ReLU, Mish, Identity. Throws Error.
Activation activation_by_name(const std::string& name);

}  // namespace sparsify::detection
