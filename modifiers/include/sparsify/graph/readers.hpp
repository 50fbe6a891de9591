// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "sparsify/graph/graph.hpp"

namespace sparsify {

/// Who reads the values of a graph, looked up once for all of them.
class Readers {
 public:
  explicit Readers(const Graph& graph) : nodes_(graph.values.size()), is_output_(graph.values.size(), false) {
    for (int i = 0; i < static_cast<int>(graph.nodes.size()); ++i)
      for (const auto& argument : graph.nodes[i].arguments)
        for (const int value : argument.values)
          if (value >= 0 && (nodes_[value].empty() || nodes_[value].back() != i)) nodes_[value].push_back(i);
    for (const int output : graph.outputs) is_output_[output] = true;
  }

  /// Nodes, in order, each once.
  const std::vector<int>& of(int value) const { return nodes_[value]; }
  bool is_output(int value) const { return is_output_[value]; }
  /// The node that alone reads a value, which is no output of the graph either; or -1.
  int sole(int value) const { return is_output(value) || of(value).size() != 1 ? -1 : of(value).front(); }

 private:
  std::vector<std::vector<int>> nodes_;
  std::vector<bool> is_output_;
};

}  // namespace sparsify
