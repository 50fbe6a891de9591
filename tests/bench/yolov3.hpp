// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "sparsify/trainers/model.hpp"

namespace sparsify::bench {

/// YOLOv3 (Redmon and Farhadi 2018, arXiv 1804.02767) for 80 classes, freshly initialised: Darknet-53, the
/// neck, and heads at strides 8, 16 and 32. Images [N, 3, H, W], sides multiples of 32; out come the 85
/// numbers of each box as they leave the heads, [N, 85, boxes], three boxes for each cell of the three maps.
std::shared_ptr<Model> make_yolov3();

}  // namespace sparsify::bench
