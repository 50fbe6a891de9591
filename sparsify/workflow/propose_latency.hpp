// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "sparsify/error.hpp"

namespace sparsify {

/// What INT8 costs and saves in one layer.
struct LayerLatency {
  std::string name;          ///< of its weight
  double loss_increase = 0;  ///< with this layer alone in INT8
  double saved_ms = 0;  ///< with this layer in INT8 beside all others, instead of alone in floating point
};

/// How long a network takes for one image.
struct NetworkLatency {
  double float_ms = 0, int8_ms = 0;  ///< with no layer in INT8, and with all that can be
  std::vector<LayerLatency> layers;  ///< those that can be, in the network's order
};

/// Which layers to quantize so that a network is fast enough.
struct LatencyProposal {
  std::vector<LayerLatency> quantized, in_float;  ///< each in the network's order
  /// int8_ms and what INT8 would save in the other layers: rather too much, as neighbours in floating point
  /// need no conversion between them.
  double predicted_ms = 0;
  double measured_ms = 0;              ///< of the network as proposed; 0: not yet
  double predicted_loss_increase = 0;  ///< if the layers' increases add up
};

/// Quantizes layers, those first that cost least loss for each millisecond saved, until the predicted latency
/// is at most `target_ms`; none where floating point is as fast. A layer that INT8 does not make faster is
/// never chosen. Throws Error saying what is reached when all others do not suffice.
LatencyProposal propose_latency(const NetworkLatency& network, double target_ms);

/// That `target_ms` is below the least that is reached.
Error not_reached(double target_ms, const NetworkLatency& network, double least_ms);

/// A recipe that trains a network with these layers in INT8 and all others in `ignore`; comments say what was
/// measured, and `where`. `never_quantized`: layers without a measurement, ignored too.
std::string recipe_text(const LatencyProposal& proposal, const NetworkLatency& network,
                        const std::vector<std::string>& never_quantized, const std::string& model,
                        const std::string& where);

}  // namespace sparsify
