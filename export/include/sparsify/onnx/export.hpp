// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "sparsify/graph/recorder.hpp"
#include "sparsify/onnx/export_graph.hpp"

namespace sparsify::onnx {

/// Records `module` on `example` ([N, ...], in evaluation mode) and exports the graph. Further outputs get
/// numbered names.
template <class Net>
ExportReport export_model(Net& module, const at::Tensor& example, const ExportOptions& options,
                          const std::filesystem::path& path, const TrainedQuantization* trained = nullptr) {
  return export_graph(record(module, example), trained, options, path);
}

}  // namespace sparsify::onnx
