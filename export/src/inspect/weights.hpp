// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>

#include "ir/proto.hpp"

namespace sparsify::onnx {

/// Whether a node is a convolution or matrix product.
bool is_layer(const pb::NodeProto& node);

/// The initializer of a layer's weight, null when it is computed.
const pb::TensorProto* layer_weight(const GraphIndex& index, const pb::NodeProto& layer);

/// A layer's weight as a matrix or kernel whose dimension 1 is the input channels, dimension 0 the output
/// channels.
at::Tensor oriented_weight(const GraphIndex& index, const pb::NodeProto& layer);

/// At most two non-zeros in each aligned group of four along dimension 1, whose length is a multiple of four.
bool is_two_four(const at::Tensor& weight);

}  // namespace sparsify::onnx
