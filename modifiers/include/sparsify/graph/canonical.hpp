// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "sparsify/graph/graph.hpp"

namespace sparsify {
namespace detail {

inline bool is_transpose_of_parameter(const Graph& graph, int value) {
  if (value < 0 || graph.values[value].producer < 0) return false;
  const auto& node = graph.nodes[graph.values[value].producer];
  const bool transposes = node.op == "aten::t" || node.op == "aten::transpose" ||
                          node.op == "aten::permute" || node.op == "aten::numpy_T" || node.op == "aten::mT";
  if (!transposes || graph.values[value].sizes.size() != 2) return false;
  const auto& source = graph.values[node.arguments.front().values.front()];
  return !source.name.empty() && source.sizes.size() == 2 &&
         source.sizes[0] == graph.values[value].sizes[1] && source.sizes[1] == graph.values[value].sizes[0];
}

inline bool is_one(const GraphArgument* argument) {
  return !argument || (argument->constant.isInt() && argument->constant.toInt() == 1) ||
         (argument->constant.isDouble() && argument->constant.toDouble() == 1);
}

// addmm(bias, x, weight.t()) and matmul(x, weight.t()) are what linear layers call.
inline void make_linear(Graph& graph, GraphNode& node) {
  const bool fused = node.op == "aten::addmm";
  if (!fused && node.op != "aten::matmul" && node.op != "aten::mm") return;
  const int right = node.value(fused ? "mat2" : node.op == "aten::mm" ? "mat2" : "other");
  const int left = node.value(fused ? "mat1" : "self");
  if (!is_transpose_of_parameter(graph, right)) return;
  if (fused && (!is_one(node.find("beta")) || !is_one(node.find("alpha")) ||
                graph.values[node.value("self")].sizes.size() != 1))
    return;
  const int weight = graph.nodes[graph.values[right].producer].arguments.front().values.front();
  const int bias = fused ? node.value("self") : -1;
  node.op = "aten::linear";
  node.arguments = {{"input", {left}, {}}, {"weight", {weight}, {}}, {"bias", {bias}, {}}};
}

// The bias that linear layers add to the matmul of three dimensions and more.
inline void absorb_bias(Graph& graph, std::size_t index) {
  auto& add = graph.nodes[index];
  if (add.op != "aten::add" || !is_one(add.find("alpha"))) return;
  const int product = add.value("self"), bias = add.value("other");
  if (product < 0 || bias < 0 || graph.values[product].producer < 0) return;
  const int producer = graph.values[product].producer;
  auto& linear = graph.nodes[producer];
  const auto& named = graph.values[bias];
  if (linear.op != "aten::linear" || linear.value("bias") >= 0 || !named.is_parameter) return;
  if (named.sizes.size() != 1 || named.sizes[0] != graph.values[linear.value("weight")].sizes[0]) return;
  if (graph.consumers(product).size() != 1) return;
  for (const int output : graph.outputs)
    if (output == product) return;
  linear.arguments.back().values = {bias};
  linear.outputs = add.outputs;
  graph.values[add.outputs.front()].producer = producer;
  graph.values[product].producer = -1;
  add.outputs.clear();
}

// Whether each value is more than a rearranged parameter or buffer: only such values can be results.
inline std::vector<bool> depends_on_data(const Graph& graph) {
  std::vector<bool> depends(graph.values.size(), false);
  for (std::size_t i = 0; i < graph.values.size(); ++i)
    depends[i] = graph.values[i].producer < 0 && graph.values[i].name.empty();
  for (const auto& node : graph.nodes) {
    bool has_inputs = false, any = false;
    for (const auto& argument : node.arguments)
      for (const int value : argument.values)
        if (value >= 0) has_inputs = true, any = any || depends[value];
    for (const int output : node.outputs)
      if (output >= 0) depends[output] = any || !has_inputs;
  }
  return depends;
}

inline void find_outputs(Graph& graph) {
  const auto depends = depends_on_data(graph);
  std::set<int> read;
  for (const auto& node : graph.nodes)
    for (const auto& argument : node.arguments) read.insert(argument.values.begin(), argument.values.end());
  for (const auto& node : graph.nodes)
    for (const int output : node.outputs)
      if (output >= 0 && depends[output] && !read.count(output) &&
          c10::isFloatingType(graph.values[output].dtype))
        graph.outputs.push_back(output);
}

// Drops calls whose results nobody uses (transposed weights, counters).
inline void drop_dead(Graph& graph) {
  std::set<int> needed(graph.outputs.begin(), graph.outputs.end());
  std::vector<bool> alive(graph.nodes.size(), false);
  for (std::size_t i = graph.nodes.size(); i-- > 0;) {
    for (const int output : graph.nodes[i].outputs) alive[i] = alive[i] || needed.count(output);
    if (!alive[i]) continue;
    for (const auto& argument : graph.nodes[i].arguments)
      needed.insert(argument.values.begin(), argument.values.end());
  }
  std::vector<GraphNode> kept;
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    for (const int output : graph.nodes[i].outputs)
      if (output >= 0) graph.values[output].producer = alive[i] ? static_cast<int>(kept.size()) : -1;
    if (alive[i]) kept.push_back(std::move(graph.nodes[i]));
  }
  graph.nodes = std::move(kept);
}

}  // namespace detail

/// Brings a freshly recorded graph into its one form: linear layers as aten::linear, no dead calls, outputs
/// known.
inline void canonicalise(Graph& graph) {
  for (auto& node : graph.nodes) detail::make_linear(graph, node);
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) detail::absorb_bias(graph, i);
  if (graph.outputs.empty()) detail::find_outputs(graph);
  detail::drop_dead(graph);
}

}  // namespace sparsify
