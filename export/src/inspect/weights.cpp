// SPDX-License-Identifier: Apache-2.0
#include "inspect/weights.hpp"

#include <ATen/ATen.h>

#include <set>

namespace sparsify::onnx {

bool is_layer(const pb::NodeProto& node) {
  static const std::set<std::string> layers = {"Conv", "ConvTranspose", "Gemm", "MatMul"};
  return layers.count(node.op_type()) && node.input_size() >= 2 && node.output_size() >= 1;
}

const pb::TensorProto* layer_weight(const GraphIndex& index, const pb::NodeProto& layer) {
  const auto* found = index.source(layer.input(1));
  return found && found->dims_size() >= 2 ? found : nullptr;
}

at::Tensor oriented_weight(const GraphIndex& index, const pb::NodeProto& layer) {
  bool transposed = false;
  const auto weight = to_tensor(*index.source(layer.input(1), &transposed));
  const auto& op = layer.op_type();
  if (op == "Conv") return weight;
  if (op == "ConvTranspose") return weight.transpose(0, 1);
  const bool rows_are_inputs = op == "MatMul" || attribute(layer, "transB", 0) == 0;
  return rows_are_inputs != transposed ? weight.transpose(-1, -2) : weight;
}

bool is_two_four(const at::Tensor& weight) {
  if (weight.dim() < 2 || weight.size(1) % 4 != 0 || weight.numel() == 0) return false;
  const auto groups = weight.movedim(1, -1).reshape({-1, 4}) != 0;
  return groups.sum(1).max().item<std::int64_t>() <= 2;
}

}  // namespace sparsify::onnx
