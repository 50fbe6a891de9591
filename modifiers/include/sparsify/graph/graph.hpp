// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/ivalue.h>

#include <cstdint>
#include <string>
#include <vector>

namespace sparsify {

/// A tensor of a recorded forward pass.
struct GraphValue {
  std::string name;  ///< of a parameter or buffer, else empty
  bool is_parameter = false;
  std::vector<std::int64_t> sizes;
  at::ScalarType dtype = at::kFloat;
  int producer = -1;  ///< index of the node that computed it; -1 for inputs, parameters and constants
  int input = -1;     ///< of an input: its number in the order of first use, as in "input#0"
  at::Tensor tensor;  ///< of parameters, buffers and constants; undefined for what nodes compute
};

/// One argument of an operator call: tensors (one, or a list) or a constant.
struct GraphArgument {
  std::string name;           ///< as in the operator's schema: "input", "weight", "stride" ...
  std::vector<int> values{};  ///< indices of values; -1 for an absent optional tensor; empty for constants
  c10::IValue constant{};     ///< everything that is not a tensor
};

/// One operator call, as the module made it: composite operators (conv2d, batch_norm, linear) are not taken
/// apart.
struct GraphNode {
  std::string op;  ///< "aten::conv2d", without the overload; in-place calls appear under their pure name
  std::string
      site;  ///< stable name of the call site, e.g. "layer1.0.conv1.weight" or "layer1.0.conv2.weight/add#0"
  std::vector<GraphArgument> arguments;
  std::vector<int> outputs;

  const GraphArgument* find(const std::string& argument) const {
    for (const auto& candidate : arguments)
      if (candidate.name == argument) return &candidate;
    return nullptr;
  }
  /// The value index of a single-tensor argument, -1 when absent.
  int value(const std::string& argument) const {
    const auto* found = find(argument);
    return found && found->values.size() == 1 ? found->values.front() : -1;
  }
};

/// A forward pass, recorded: nodes in the order of execution, over single-assignment values (in-place calls
/// make new ones). C++ `torch::nn::Linear` (addmm or matmul with a transposed weight, then a bias added)
/// appears as aten::linear.
struct Graph {
  std::vector<GraphNode> nodes;
  std::vector<GraphValue> values;
  std::vector<int> inputs;  ///< as declared, else in the order of first use
  std::vector<int> outputs;

  /// Where a value comes from: the site of its node, or "input#0".
  std::string site_of(int value) const {
    const auto& made = values[value];
    return made.producer >= 0 ? nodes[made.producer].site : "input#" + std::to_string(made.input);
  }

  /// The nodes that read a value, in order.
  std::vector<int> consumers(int value) const {
    std::vector<int> readers;
    for (int i = 0; i < static_cast<int>(nodes.size()); ++i)
      for (const auto& argument : nodes[i].arguments)
        for (const int used : argument.values)
          if (used == value && (readers.empty() || readers.back() != i)) readers.push_back(i);
    return readers;
  }
};

}  // namespace sparsify
