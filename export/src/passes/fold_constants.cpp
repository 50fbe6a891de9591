// SPDX-License-Identifier: Apache-2.0
#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/grad_mode.h>

#include <optional>

#include "passes/graph_passes.hpp"

namespace sparsify::onnx {
namespace {

bool is_tensor_type(const c10::Type& type) {
  switch (type.kind()) {
    case c10::TypeKind::TensorType:
      return true;
    case c10::TypeKind::OptionalType:
    case c10::TypeKind::ListType:
      return is_tensor_type(*type.containedType(0));
    default:
      return false;
  }
}

bool takes(const c10::FunctionSchema& schema, const GraphNode& node) {
  const auto& declared = schema.arguments();
  if (declared.size() != node.arguments.size()) return false;
  for (std::size_t i = 0; i < declared.size(); ++i) {
    const bool holds = !node.arguments[i].values.empty();
    const bool absent = !holds && node.arguments[i].constant.isNone();
    if (declared[i].name() != node.arguments[i].name) return false;
    if (!absent && is_tensor_type(*declared[i].type()) != holds) return false;
  }
  return true;
}

// The overload that a node called, found by the names and kinds of its arguments.
std::optional<c10::OperatorHandle> find_operator(const GraphNode& node) {
  auto& dispatcher = c10::Dispatcher::singleton();
  for (const auto& name : dispatcher.getAllOpNames()) {
    if (name.name != node.op) continue;
    auto found = dispatcher.findSchema(name);
    if (found && takes(found->schema(), node)) return found;
  }
  return std::nullopt;
}

bool reads_constants_only(const Graph& graph, const GraphNode& node) {
  for (const auto& argument : node.arguments)
    for (const int value : argument.values)
      if (value >= 0 && !graph.values[value].tensor.defined()) return false;
  return true;
}

c10::IValue to_ivalue(const Graph& graph, const GraphArgument& argument, const c10::Argument& declared) {
  if (argument.values.empty()) return argument.constant;
  if (declared.type()->kind() != c10::TypeKind::ListType) {
    const int value = argument.values.front();
    return value < 0 ? c10::IValue() : c10::IValue(graph.values[value].tensor);
  }
  c10::List<at::Tensor> list;
  for (const int value : argument.values) list.push_back(graph.values[value].tensor);
  return list;
}

bool compute(Graph& graph, const GraphNode& node) {
  const auto op = find_operator(node);
  if (!op || op->hasTag(at::Tag::nondeterministic_seeded)) return false;
  c10::Stack stack;
  for (std::size_t i = 0; i < node.arguments.size(); ++i)
    stack.push_back(to_ivalue(graph, node.arguments[i], op->schema().arguments()[i]));
  op->callBoxed(stack);
  std::vector<at::Tensor> results;
  for (const auto& result : stack) {
    if (result.isTensor()) results.push_back(result.toTensor());
    if (result.isTensorList())
      for (const auto& tensor : result.toTensorVector()) results.push_back(tensor);
  }
  if (results.size() != node.outputs.size()) return false;
  for (std::size_t i = 0; i < results.size(); ++i) {
    if (node.outputs[i] < 0) continue;
    graph.values[node.outputs[i]].tensor = results[i];
    graph.values[node.outputs[i]].producer = -1;
  }
  return true;
}

// Node indices of producers follow the nodes that stay.
Graph keep_nodes(Graph graph, const std::vector<bool>& kept) {
  std::vector<GraphNode> nodes;
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    if (!kept[i]) continue;
    for (const int output : graph.nodes[i].outputs)
      if (output >= 0) graph.values[output].producer = static_cast<int>(nodes.size());
    nodes.push_back(std::move(graph.nodes[i]));
  }
  graph.nodes = std::move(nodes);
  return graph;
}

}  // namespace

Graph fold_constants(Graph graph) {
  const at::NoGradGuard no_grad;
  std::vector<bool> kept(graph.nodes.size(), true);
  for (std::size_t i = 0; i < graph.nodes.size(); ++i)
    kept[i] = !(reads_constants_only(graph, graph.nodes[i]) && compute(graph, graph.nodes[i]));
  return keep_nodes(std::move(graph), kept);
}

Graph remove_dead_nodes(Graph graph) {
  std::vector<bool> needed(graph.values.size(), false), kept(graph.nodes.size(), false);
  for (const int output : graph.outputs) needed[output] = true;
  for (int i = static_cast<int>(graph.nodes.size()) - 1; i >= 0; --i) {
    for (const int output : graph.nodes[i].outputs) kept[i] = kept[i] || (output >= 0 && needed[output]);
    if (!kept[i]) continue;
    for (const auto& argument : graph.nodes[i].arguments)
      for (const int value : argument.values)
        if (value >= 0) needed[value] = true;
  }
  return keep_nodes(std::move(graph), kept);
}

}  // namespace sparsify::onnx
