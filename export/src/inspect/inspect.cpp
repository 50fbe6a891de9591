// SPDX-License-Identifier: Apache-2.0
#include "sparsify/onnx/inspect.hpp"

#include <ATen/ATen.h>

#include "inspect/weights.hpp"

namespace sparsify::onnx {
namespace {

// The quantizer of a weight: of the DequantizeLinear that the layer reads.
std::string quantizer_of(const GraphIndex& index, const std::string& tensor) {
  const auto* node = index.producer(tensor);
  if (!node || node->op_type() != "DequantizeLinear" || node->input_size() < 2) return "";
  const auto* scale = index.initializer(node->input(1));
  const auto* zero_point = node->input_size() > 2 ? index.initializer(node->input(2)) : nullptr;
  const bool is_signed = zero_point && zero_point->data_type() == pb::TensorProto::INT8;
  const bool per_channel = scale && scale->dims_size() == 1 && scale->dims(0) > 1;
  return std::string(per_channel ? "per-channel " : "per-tensor ") + (is_signed ? "int8" : "uint8");
}

// Bits of the smallest symmetric range that holds the integers.
int bits_used(const at::Tensor& integers) {
  const auto largest = integers.numel() > 0 ? integers.to(at::kInt).abs().max().item<int>() : 0;
  int bits = 2;
  while ((1 << (bits - 1)) - 1 < largest) ++bits;
  return bits;
}

WeightFacts facts_of(const GraphIndex& index, const pb::NodeProto& layer) {
  const auto& proto = *layer_weight(index, layer);
  const auto weight = oriented_weight(index, layer);
  WeightFacts facts;
  facts.name = proto.name();
  facts.node = layer.name();
  facts.op = layer.op_type();
  facts.type = c10::toString(weight.scalar_type());
  facts.shape.assign(proto.dims().begin(), proto.dims().end());
  facts.elements = weight.numel();
  facts.zeros = (weight == 0).sum().item<std::int64_t>();
  facts.two_four = is_two_four(weight);
  if (weight.scalar_type() == at::kChar) facts.bits = bits_used(weight);
  facts.quantizer = quantizer_of(index, layer.input(1));
  return facts;
}

}  // namespace

ModelFacts inspect_model(const std::filesystem::path& path) {
  const auto model = read_model(path);
  const GraphIndex index(model.graph());
  ModelFacts facts;
  facts.bytes = static_cast<std::int64_t>(std::filesystem::file_size(path));
  facts.producer =
      model.producer_name() + (model.producer_version().empty() ? "" : " " + model.producer_version());
  for (const auto& opset : model.opset_import())
    if (opset.domain().empty()) facts.opset = static_cast<int>(opset.version());
  for (const auto& property : model.metadata_props()) facts.metadata[property.key()] = property.value();
  for (const auto& tensor : model.graph().initializer()) {
    std::int64_t elements = 1;
    for (const auto size : tensor.dims()) elements *= size;
    facts.elements += elements;
  }
  for (const auto& node : model.graph().node()) {
    ++facts.operators[node.op_type()];
    facts.activation_quantizers +=
        node.op_type() == "QuantizeLinear" && node.input_size() > 0 && !index.initializer(node.input(0));
    if (!is_layer(node) || !layer_weight(index, node)) continue;
    facts.weights.push_back(facts_of(index, node));
    facts.prunable += facts.weights.back().elements;
    facts.prunable_zeros += facts.weights.back().zeros;
  }
  return facts;
}

}  // namespace sparsify::onnx
