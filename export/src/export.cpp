// SPDX-License-Identifier: Apache-2.0
#include "sparsify/onnx/export_graph.hpp"

#include "ir/serialize.hpp"
#include "ir/write_file.hpp"
#include "lower/lowering.hpp"
#include "lower/select_boxes.hpp"
#include "passes/graph_passes.hpp"
#include "sparsify/error.hpp"

namespace sparsify::onnx {

std::string name(Target target) { return target == Target::kCpu ? "cpu" : "gpu"; }

ExportReport export_graph(const Graph& graph, const TrainedQuantization* trained,
                          const ExportOptions& options, const std::filesystem::path& path) {
  if (options.opset < 13 || options.opset > 17)
    throw Error("opset " + std::to_string(options.opset) + " is not supported; expected 13 to 17");
  ExportReport report;
  report.path = path;
  const auto reduced = remove_dead_nodes(fold_constants(remove_dead_nodes(graph)));
  auto model = Lowering(reduced, trained, options, report).run();
  if (options.non_max_suppression) select_boxes(model, *options.non_max_suppression);

  auto written = options;
  written.metadata.emplace("target", name(options.target));
  written.metadata.emplace("scheme", trained ? trained->plan.scheme : "float");
  const auto bytes = serialize(model, written);
  write_file(path, bytes);
  report.bytes = static_cast<std::int64_t>(bytes.size());
  report.nodes = static_cast<std::int64_t>(model.nodes.size());
  return report;
}

}  // namespace sparsify::onnx
