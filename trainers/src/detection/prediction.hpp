// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "sparsify/detection/detector.hpp"

namespace sparsify::detection {

/// Channels of a head's map.
std::int64_t map_channels(const DetectionHead& head);

/// Gives the convolution that makes a head's map new weights, and as many outputs as the head takes. Biases
/// are such that training begins with likely scores: 8 objects in 640 x 640 pixels, each of one of the
/// classes in 0.6 of all cases (Lin et al. 2017, arXiv 1708.02002, section 3.3, with Ultralytics' numbers).
/// The tensors stay the same ones, on their device and of their type.
void initialise_prediction(torch::nn::Conv2dImpl& convolution, const DetectionHead& head);

}  // namespace sparsify::detection
