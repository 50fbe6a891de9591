// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "sparsify/detection/detector.hpp"

namespace sparsify::detection {

/// Makes a detector of `classes` classes of one for others: the convolutions before its heads get new
/// weights, biases with the scores that training begins with, and as many outputs as that takes; everything
/// else keeps its values. The same number of classes only starts the heads anew. Call it before optimizers
/// and sessions. Throws Error for fewer than one class, and where no plain convolution makes a head's map.
void change_classes(Detector& detector, std::int64_t classes);

}  // namespace sparsify::detection
