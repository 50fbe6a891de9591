// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>

#include "sparsify/graph/graph.hpp"

namespace sparsify::onnx {

/// Computes the nodes that read constants only; their results become constants of the graph.
Graph fold_constants(Graph graph);

/// Drops nodes that no output depends on.
Graph remove_dead_nodes(Graph graph);

/// Batch-norms that can be folded into the layer before them: node index of the batch-norm -> node index of
/// the layer. A layer whose own output is `kept` (rounded, for one) or read elsewhere is left alone.
std::map<int, int> foldable_batch_norms(const Graph& graph, const std::function<bool(int value)>& kept);

}  // namespace sparsify::onnx
