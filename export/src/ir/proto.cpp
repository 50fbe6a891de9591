// SPDX-License-Identifier: Apache-2.0
#include "ir/proto.hpp"

#include <ATen/ATen.h>

#include <cstring>
#include <fstream>

#include "sparsify/error.hpp"

namespace sparsify::onnx {

pb::ModelProto read_model(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw Error(path.string() + ": cannot be opened");
  pb::ModelProto model;
  if (!model.ParseFromIstream(&file) || !model.has_graph())
    throw Error(path.string() + ": not an ONNX model (it does not parse as one)");
  return model;
}

int to_onnx_type(at::ScalarType type, const std::string& what) {
  switch (type) {
    case at::kFloat:
      return pb::TensorProto::FLOAT;
    case at::kDouble:
      return pb::TensorProto::DOUBLE;
    case at::kHalf:
      return pb::TensorProto::FLOAT16;
    case at::kBFloat16:
      return pb::TensorProto::BFLOAT16;
    case at::kLong:
      return pb::TensorProto::INT64;
    case at::kInt:
      return pb::TensorProto::INT32;
    case at::kShort:
      return pb::TensorProto::INT16;
    case at::kChar:
      return pb::TensorProto::INT8;
    case at::kByte:
      return pb::TensorProto::UINT8;
    case at::kBool:
      return pb::TensorProto::BOOL;
    default:
      throw Error(what + ": element type " + c10::toString(type) + " does not exist in ONNX");
  }
}

at::ScalarType to_torch_type(int type, const std::string& what) {
  switch (type) {
    case pb::TensorProto::FLOAT:
      return at::kFloat;
    case pb::TensorProto::DOUBLE:
      return at::kDouble;
    case pb::TensorProto::FLOAT16:
      return at::kHalf;
    case pb::TensorProto::BFLOAT16:
      return at::kBFloat16;
    case pb::TensorProto::INT64:
      return at::kLong;
    case pb::TensorProto::INT32:
      return at::kInt;
    case pb::TensorProto::INT16:
      return at::kShort;
    case pb::TensorProto::INT8:
      return at::kChar;
    case pb::TensorProto::UINT8:
      return at::kByte;
    case pb::TensorProto::BOOL:
      return at::kBool;
    default:
      throw Error(what + ": ONNX element type " + std::to_string(type) + " is not supported");
  }
}

void fill_tensor(pb::TensorProto& proto, const std::string& name, const at::Tensor& tensor) {
  const auto dense = tensor.detach().to(at::kCPU).contiguous();
  proto.set_name(name);
  proto.set_data_type(to_onnx_type(dense.scalar_type(), name));
  for (const auto size : dense.sizes()) proto.add_dims(size);
  proto.set_raw_data(dense.data_ptr(), dense.nbytes());
}

namespace {

template <class Field>
at::Tensor from_field(const Field& field, at::ScalarType stored, at::ScalarType wanted) {
  const auto count = static_cast<std::int64_t>(field.size());
  auto tensor = at::empty({count}, stored);
  if (count > 0) std::memcpy(tensor.data_ptr(), field.data(), tensor.nbytes());
  return tensor.to(wanted);
}

at::Tensor flat_values(const pb::TensorProto& proto, at::ScalarType type) {
  if (proto.has_raw_data()) {
    const auto& raw = proto.raw_data();
    const auto width = c10::elementSize(type);
    if (raw.size() % width != 0) throw Error("initializer '" + proto.name() + "': odd number of bytes");
    auto tensor = at::empty({static_cast<std::int64_t>(raw.size() / width)}, type);
    if (!raw.empty()) std::memcpy(tensor.data_ptr(), raw.data(), raw.size());
    return tensor;
  }
  if (proto.float_data_size() > 0) return from_field(proto.float_data(), at::kFloat, type);
  if (proto.double_data_size() > 0) return from_field(proto.double_data(), at::kDouble, type);
  if (proto.int64_data_size() > 0) return from_field(proto.int64_data(), at::kLong, type);
  if (type == at::kHalf || type == at::kBFloat16)  // stored as bit patterns
    return from_field(proto.int32_data(), at::kInt, at::kShort).view(type);
  return from_field(proto.int32_data(), at::kInt, type);
}

}  // namespace

at::Tensor to_tensor(const pb::TensorProto& proto) {
  if (proto.data_location() == pb::TensorProto::EXTERNAL)
    throw Error("initializer '" + proto.name() + "' is stored in another file, which is not supported");
  const auto flat =
      flat_values(proto, to_torch_type(proto.data_type(), "initializer '" + proto.name() + "'"));
  std::vector<std::int64_t> sizes(proto.dims().begin(), proto.dims().end());
  std::int64_t count = 1;
  for (const auto size : sizes) {
    if (size < 0 || (size > 0 && count > flat.numel() + 1))
      throw Error("initializer '" + proto.name() + "': impossible shape");
    count *= size;
  }
  if (count != flat.numel())
    throw Error("initializer '" + proto.name() + "': its shape has " + std::to_string(count) +
                " elements, its data " + std::to_string(flat.numel()));
  return flat.reshape(sizes);
}

GraphIndex::GraphIndex(const pb::GraphProto& graph) : graph_(&graph) {
  for (const auto& node : graph.node()) {
    for (const auto& output : node.output()) producers_[output] = &node;
    for (const auto& input : node.input()) consumers_[input].push_back(&node);
  }
  for (const auto& tensor : graph.initializer()) initializers_[tensor.name()] = &tensor;
}

const pb::NodeProto* GraphIndex::producer(const std::string& tensor) const {
  const auto found = producers_.find(tensor);
  return found == producers_.end() ? nullptr : found->second;
}

const pb::TensorProto* GraphIndex::initializer(const std::string& tensor) const {
  const auto found = initializers_.find(tensor);
  return found == initializers_.end() ? nullptr : found->second;
}

std::vector<const pb::NodeProto*> GraphIndex::consumers(const std::string& tensor) const {
  const auto found = consumers_.find(tensor);
  return found == consumers_.end() ? std::vector<const pb::NodeProto*>{} : found->second;
}

bool GraphIndex::is_output(const std::string& tensor) const {
  for (const auto& output : graph_->output())
    if (output.name() == tensor) return true;
  return false;
}

const pb::TensorProto* GraphIndex::source(const std::string& tensor, bool* transposed) const {
  auto name = tensor;
  for (int steps = 0; steps <= graph_->node_size(); ++steps) {  // a broken file may go round in circles
    if (const auto* found = initializer(name)) return found;
    const auto* node = producer(name);
    if (!node || node->input_size() == 0) return nullptr;
    const auto& op = node->op_type();
    if (op == "Transpose" && transposed) *transposed = !*transposed;
    if (op != "QuantizeLinear" && op != "DequantizeLinear" && op != "Cast" && op != "Transpose" &&
        op != "Identity")
      return nullptr;
    name = node->input(0);
  }
  return nullptr;
}

std::int64_t attribute(const pb::NodeProto& node, const std::string& name, std::int64_t fallback) {
  for (const auto& candidate : node.attribute())
    if (candidate.name() == name) return candidate.i();
  return fallback;
}

}  // namespace sparsify::onnx
