// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "sparsify/trainers/image.hpp"

namespace sparsify::detection {

/// The image as EXIF's orientation (1 to 8) wants it shown.
trainers::Image upright(trainers::Image image, int orientation);

}  // namespace sparsify::detection
