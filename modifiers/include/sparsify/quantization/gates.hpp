// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <set>
#include <vector>

#include "sparsify/quantization/node_kinds.hpp"

namespace sparsify {
namespace detail {

inline bool may_be_part_of_gate(const GraphNode& node) {
  return is_weighted(node) || is_activation(node) || passes_values(node) || op_is(node, {"batch_norm"});
}

// Weighted nodes on the way back from a value to an average over images; none if the way does not lead there.
inline std::vector<int> layers_since_average(const Graph& graph, int value) {
  std::vector<int> layers;
  while (value >= 0 && graph.values[value].producer >= 0) {
    const int number = graph.values[value].producer;
    const auto& node = graph.nodes[number];
    if (averages_images(node)) return layers;
    if (is_weighted(node)) layers.push_back(number);
    if (!may_be_part_of_gate(node) || node.arguments.front().values.empty()) return {};
    value = node.arguments.front().values.front();
  }
  return {};
}

/// The layers, as nodes, of squeeze-and-excitation blocks (Hu et al. 2018, arXiv 1709.01507): from an average
/// over images to a product with images.
inline std::set<int> layers_of_gates(const Graph& graph) {
  std::set<int> gates;
  for (const auto& node : graph.nodes)
    if (node.op == "aten::mul" && graph.values[node.outputs.front()].sizes.size() == 4)
      for (const auto* operand : {"self", "other"}) {
        const auto layers = layers_since_average(graph, node.value(operand));
        gates.insert(layers.begin(), layers.end());
      }
  return gates;
}

}  // namespace detail
}  // namespace sparsify
