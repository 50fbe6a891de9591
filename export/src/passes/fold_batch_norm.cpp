// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <set>

#include "passes/graph_passes.hpp"

namespace sparsify::onnx {
namespace {

const std::set<std::string> kConvolutions = {"aten::conv1d", "aten::conv2d", "aten::conv3d",
                                             "aten::conv_transpose1d", "aten::conv_transpose2d"};

bool is_constant(const Graph& graph, int value) { return value < 0 || graph.values[value].tensor.defined(); }

// A linear layer's channel is the last dimension, batch-norm's the second.
bool channels_match(const Graph& graph, const GraphNode& layer) {
  return kConvolutions.count(layer.op) ||
         (layer.op == "aten::linear" && graph.values[layer.outputs[0]].sizes.size() == 2);
}

}  // namespace

std::map<int, int> foldable_batch_norms(const Graph& graph, const std::function<bool(int value)>& kept) {
  std::map<int, int> folds;
  for (int i = 0; i < static_cast<int>(graph.nodes.size()); ++i) {
    const auto& norm = graph.nodes[i];
    const int input = norm.op == "aten::batch_norm" ? norm.value("input") : -1;
    if (input < 0 || graph.values[input].producer < 0 || kept(input)) continue;
    const int producer = graph.values[input].producer;
    const auto& layer = graph.nodes[producer];
    const bool constant =
        is_constant(graph, norm.value("weight")) && is_constant(graph, norm.value("bias")) &&
        is_constant(graph, layer.value("weight")) && is_constant(graph, layer.value("bias"));
    const bool output = std::count(graph.outputs.begin(), graph.outputs.end(), input) > 0;
    if (constant && !output && channels_match(graph, layer) && graph.consumers(input).size() == 1)
      folds[i] = producer;
  }
  return folds;
}

}  // namespace sparsify::onnx
