// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "sparsify/trainers/model.hpp"
#include "workflow/propose_latency.hpp"
#include "workflow/sensitivity.hpp"

namespace sparsify {

/// Times a trained network in ONNX Runtime on this machine's CPU, with as many threads as LibTorch uses, on
/// one image: in floating point, with all layers in INT8 that `sensitivity` measured so, and with each of
/// these taken out. Exported files are timed in turn with the INT8 one, so that what else the machine does
/// hits both. Zeros save no time there. `image`: [1, C, H, W]. `progress` as in measure_sensitivity.
NetworkLatency measure_latency(Model& model, const at::Tensor& image, const Sensitivity& sensitivity,
                               const std::function<bool(std::int64_t done, std::int64_t all)>& progress);

/// A proposal for `target_ms` that is also fast enough when it is timed as a whole: where the sum of the
/// layers' savings promised too much, more layers follow. Throws Error when none are left.
LatencyProposal propose_measured_latency(Model& model, const at::Tensor& image, const NetworkLatency& network,
                                         double target_ms);

/// "ONNX Runtime 1.21.0, 2 threads of this machine's CPU".
std::string where_latency_is_measured();

}  // namespace sparsify
