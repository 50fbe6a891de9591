// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>
#include <variant>
#include <vector>

namespace sparsify::onnx {

using Ints = std::vector<std::int64_t>;
using Attribute = std::variant<std::int64_t, float, std::string, Ints>;
using Attributes = std::map<std::string, Attribute>;

struct Node {
  std::string op;
  std::string name;
  std::vector<std::string> inputs;
  std::vector<std::string> outputs;
  Attributes attributes{};
};

/// An input or output of the model; `batch` is the dimension that is symbolic, -1 when none is.
struct Port {
  std::string name;
  Ints sizes;
  at::ScalarType dtype = at::kFloat;
  int batch = -1;
};

/// An ONNX model as the passes see it, before it becomes protobuf.
struct Model {
  std::vector<Node> nodes;
  std::map<std::string, at::Tensor> initializers;
  std::vector<Port> inputs;
  std::vector<Port> outputs;
};

}  // namespace sparsify::onnx
