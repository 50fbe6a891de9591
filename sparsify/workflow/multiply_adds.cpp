// SPDX-License-Identifier: Apache-2.0
#include "workflow/multiply_adds.hpp"

#include <c10/util/accumulate.h>

namespace sparsify {
namespace {

// How often each weight is multiplied: once for each position of the result, or of the input if transposed.
std::int64_t uses_of_each_weight(const Graph& graph, const GraphNode& node) {
  const auto& weight = graph.values[node.value("weight")].sizes;
  const bool transposed = node.op.rfind("aten::conv_transpose", 0) == 0;
  const auto& at = graph.values[transposed ? node.value("input") : node.outputs.front()].sizes;
  return c10::multiply_integers(at) / weight.front();
}

}  // namespace

std::map<std::string, std::int64_t> multiply_adds(const Graph& graph) {
  std::map<std::string, std::int64_t> all;
  for (const auto& node : graph.nodes) {
    if (node.op != "aten::linear" && node.op.rfind("aten::conv", 0) != 0) continue;
    const int weight = node.value("weight");
    if (weight < 0 || graph.values[weight].name.empty()) continue;
    all[graph.values[weight].name] +=
        c10::multiply_integers(graph.values[weight].sizes) * uses_of_each_weight(graph, node);
  }
  return all;
}

}  // namespace sparsify
