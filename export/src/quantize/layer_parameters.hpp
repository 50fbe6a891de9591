// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>

#include <string>

#include "lower/lowering.hpp"

namespace sparsify::onnx {

/// The parameters of a convolution or linear layer, and what the batch-norm after it does to them.
struct LayerParameters {
  std::string site;  ///< of the call
  std::string weight_name,
      bias_name;      ///< of the parameters; a bias that comes from batch-norm gets a name of its own
  at::Tensor weight;  ///< float32, as trained
  int axis = 0;       ///< its dimension of output channels
  std::int64_t groups = 1;
  at::Tensor factor;  ///< float64, one per output channel: k of y = k x + b; undefined: 1
  at::Tensor bias;    ///< float64, one per output channel, with the batch-norm's; undefined: none
};

/// What the layer's node reads.
struct LayerTensors {
  std::string weight, bias;  ///< bias empty: none
  bool integer = false;
};

/// Adds the parameters to the model: in floating point, or as trained integers with their scales when the
/// plan rounds the weight. `input` is the value the layer reads. For target cpu the bias lies on the
/// accumulator's grid; `integer_bias` says whether the node takes it as integers.
LayerTensors emit_parameters(Lowering& lowering, const LayerParameters& layer, int input,
                             bool integer_bias = true);

}  // namespace sparsify::onnx
