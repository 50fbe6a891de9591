// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "detection/scene.hpp"
#include "sparsify/detection/hyperparameters.hpp"
#include "sparsify/trainers/counter_rng.hpp"

namespace sparsify::detection {

/// A training image of side x side pixels as the hyper-parameters say: a mosaic of four, or the image alone,
/// in a random perspective; sometimes mixed with another; colours and flips. Everything random comes from
/// `rng`.
View augmented(const DetectionDataset& images, std::int64_t index, std::int64_t side,
               const Hyperparameters& hyp, trainers::CounterRng& rng);

/// Four images around a random point of a canvas of twice the side, the first one at the upper left.
Scene mosaic(const DetectionDataset& images, const std::int64_t (&indices)[4], std::int64_t side,
             double centre_x, double centre_y);

/// One image, its longer side as long as the canvas, in the middle of it.
Scene alone(const DetectionDataset& images, std::int64_t index, std::int64_t side);

/// Multiplies hue (in turns), saturation and value by factors, in place; `rgb` holds `pixels` of three bytes.
void shift_colours(std::uint8_t* rgb, std::int64_t pixels, double hue, double saturation, double value);

}  // namespace sparsify::detection
