// SPDX-License-Identifier: Apache-2.0
#include "ir/serialize.hpp"

#include <onnx/shape_inference/implementation.h>

#include "ir/proto.hpp"
#include "runtime/environment.hpp"
#include "sparsify/error.hpp"

namespace sparsify::onnx {
namespace {

void fill_attribute(pb::AttributeProto& proto, const std::string& name, const Attribute& value) {
  proto.set_name(name);
  if (const auto* integer = std::get_if<std::int64_t>(&value)) {
    proto.set_type(pb::AttributeProto::INT);
    proto.set_i(*integer);
  } else if (const auto* number = std::get_if<float>(&value)) {
    proto.set_type(pb::AttributeProto::FLOAT);
    proto.set_f(*number);
  } else if (const auto* text = std::get_if<std::string>(&value)) {
    proto.set_type(pb::AttributeProto::STRING);
    proto.set_s(*text);
  } else {
    proto.set_type(pb::AttributeProto::INTS);
    for (const auto element : std::get<Ints>(value)) proto.add_ints(element);
  }
}

void fill_port(pb::ValueInfoProto& proto, const Port& port) {
  proto.set_name(port.name);
  auto& type = *proto.mutable_type()->mutable_tensor_type();
  type.set_elem_type(to_onnx_type(port.dtype, port.name));
  auto& shape = *type.mutable_shape();
  for (int i = 0; i < static_cast<int>(port.sizes.size()); ++i) {
    auto& dimension = *shape.add_dim();
    if (i == port.batch)
      dimension.set_dim_param("batch");
    else
      dimension.set_dim_value(port.sizes[i]);
  }
}

void fill_graph(pb::GraphProto& graph, const Model& model, const std::string& name) {
  graph.set_name(name);
  for (const auto& node : model.nodes) {
    auto& proto = *graph.add_node();
    proto.set_op_type(node.op);
    proto.set_name(node.name);
    for (const auto& input : node.inputs) proto.add_input(input);
    for (const auto& output : node.outputs) proto.add_output(output);
    for (const auto& [key, value] : node.attributes) fill_attribute(*proto.add_attribute(), key, value);
  }
  for (const auto& [key, tensor] : model.initializers) fill_tensor(*graph.add_initializer(), key, tensor);
  for (const auto& port : model.inputs) fill_port(*graph.add_input(), port);
  for (const auto& port : model.outputs) fill_port(*graph.add_output(), port);
}

}  // namespace

std::string serialize(const Model& model, const ExportOptions& options) {
  pb::ModelProto proto;
  proto.set_ir_version(options.opset < 15 ? 7 : 8);
  proto.set_producer_name("sparsify");
  proto.set_producer_version(SPARSIFY_VERSION);
  auto& opset = *proto.add_opset_import();
  opset.set_domain("");
  opset.set_version(options.opset);
  for (const auto& [key, value] : options.metadata) {
    auto& property = *proto.add_metadata_props();
    property.set_key(key);
    property.set_value(value);
  }
  fill_graph(*proto.mutable_graph(), model, options.graph_name);
  prepare_schemas();
  try {
    ::onnx::shape_inference::InferShapes(proto, ::onnx::OpSchemaRegistry::Instance(), {true, 1, false});
  } catch (const std::exception& error) {
    throw Error(std::string("the exported graph's shapes do not fit together: ") + error.what());
  }
  std::string bytes;
  if (!proto.SerializeToString(&bytes)) throw Error("the model exceeds the 2 GB that one ONNX file can hold");
  return bytes;
}

}  // namespace sparsify::onnx
