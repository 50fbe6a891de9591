// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <tuple>
#include <vector>

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

/// The same for a `forward` that takes a vector of tensors. Further inputs get numbered names.
template <class Net>
ExportReport export_model(Net& module, const std::vector<at::Tensor>& examples, const ExportOptions& options,
                          const std::filesystem::path& path, const TrainedQuantization* trained = nullptr) {
  return export_graph(record(module, examples), trained, options, path);
}

/// The same for a `forward` of several arguments: `export_model(net, std::tie(image, depth), options, path)`.
template <class Net, class... Examples>
ExportReport export_model(Net& module, const std::tuple<Examples...>& examples, const ExportOptions& options,
                          const std::filesystem::path& path, const TrainedQuantization* trained = nullptr) {
  const auto recorded = [&](const auto&... each) { return record(module, each...); };
  return export_graph(std::apply(recorded, examples), trained, options, path);
}

}  // namespace sparsify::onnx
