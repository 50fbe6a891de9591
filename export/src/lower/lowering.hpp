// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "ir/model.hpp"
#include "quantize/quantizers.hpp"
#include "sparsify/onnx/export_graph.hpp"

namespace sparsify::onnx {

/// Turns a recorded graph into an ONNX model, node by node; quantizers are placed where their tensors are
/// produced.
class Lowering {
 public:
  Lowering(const Graph& graph, const TrainedQuantization* trained, const ExportOptions& options,
           ExportReport& report);

  Model run();

  const Graph& graph() const { return graph_; }
  const ExportOptions& options() const { return options_; }
  ExportReport& report() { return report_; }
  Quantizers& quantizers() { return quantizers_; }

  bool is_constant(int value) const { return graph_.values[value].tensor.defined(); }
  /// The tensor that readers of a value read: rounded where the value is. Constants become initializers here.
  std::string read(int value);
  /// The same with another element type: constants are converted, computed tensors cast.
  std::string read_as(int value, at::ScalarType type);
  /// The dimension of a value that holds the batch, -1 when none does or batches are not dynamic.
  int batch_dimension(int value) const { return batch_.at(value); }
  /// The quantizer whose grid a value lies on, -1 when it is not rounded.
  int quantizer(int value) const { return grid_.at(value); }

  /// Adds a node and returns its only output.
  std::string emit(const std::string& op, const std::string& name, std::vector<std::string> inputs,
                   Attributes attributes = {});
  std::vector<std::string> emit_split(const std::string& name, std::vector<std::string> inputs,
                                      std::size_t outputs, Attributes attributes);
  /// Adds an initializer; its name differs from `name` only if that one holds something else already.
  std::string initializer(const std::string& name, const at::Tensor& tensor);
  std::string integers(const std::string& name, const Ints& values);
  std::string scalar(const std::string& name, double value, at::ScalarType type = at::kFloat);

  /// Says which tensor holds a value; places the value's quantizer. `passed` is the value of which this one
  /// is a selection or a rearrangement (same grid), -1 when it is computed.
  void bind(int value, const std::string& tensor, int batch, int passed = -1);
  /// Makes a value another name of one that exists.
  void alias(int value, int source);
  /// The tensor rounded to a quantizer's grid (-1: as it is). `site`: the report lists it as what the plan
  /// rounds there.
  std::string round(const std::string& tensor, int quantizer, const std::string& site = "");

  /// The layer that is folded into with a batch-norm, null when there is none.
  const GraphNode* folded_layer(const GraphNode& batch_norm) const;

 private:
  void bind_inputs();
  void lower_nodes();
  void bind_outputs();
  static std::string unique(std::set<std::string>& taken, const std::string& name);

  const Graph& graph_;
  const ExportOptions& options_;
  ExportReport& report_;
  Quantizers quantizers_;
  std::map<int, int> folds_;
  std::vector<std::string> tensors_;  // by value; empty until bound
  std::vector<int> grid_, batch_;     // by value
  std::set<std::string> names_;       // of tensors
  std::set<std::string> node_names_;  // a layer may be called as an output is
  Model model_;
};

}  // namespace sparsify::onnx
