// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>
#include <onnx/onnx_pb.h>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace sparsify::onnx {

namespace pb = ::onnx;

/// Parses an .onnx file. Throws Error when it cannot be read or is none.
pb::ModelProto read_model(const std::filesystem::path& path);

/// Element types of both worlds. Throw Error naming `what` for types that models here do not have.
int to_onnx_type(at::ScalarType type, const std::string& what);
at::ScalarType to_torch_type(int type, const std::string& what);

void fill_tensor(pb::TensorProto& proto, const std::string& name, const at::Tensor& tensor);
/// A copy of an initializer, whichever field its values are stored in. Throws Error on sizes that do not fit.
at::Tensor to_tensor(const pb::TensorProto& proto);

/// Looks things up in a parsed graph by tensor name.
class GraphIndex {
 public:
  explicit GraphIndex(const pb::GraphProto& graph);

  const pb::NodeProto* producer(const std::string& tensor) const;
  const pb::TensorProto* initializer(const std::string& tensor) const;
  std::vector<const pb::NodeProto*> consumers(const std::string& tensor) const;
  bool is_output(const std::string& tensor) const;
  /// The initializer that a tensor comes from through quantizers, casts and transposes; null when it is
  /// computed.
  const pb::TensorProto* source(const std::string& tensor, bool* transposed = nullptr) const;

 private:
  const pb::GraphProto* graph_;
  std::map<std::string, const pb::NodeProto*> producers_;
  std::map<std::string, const pb::TensorProto*> initializers_;
  std::map<std::string, std::vector<const pb::NodeProto*>> consumers_;
};

/// An integer attribute of a node, or its default.
std::int64_t attribute(const pb::NodeProto& node, const std::string& name, std::int64_t fallback);

}  // namespace sparsify::onnx
