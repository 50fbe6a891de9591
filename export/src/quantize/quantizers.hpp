// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <string>

#include "sparsify/graph/graph.hpp"
#include "sparsify/onnx/export_graph.hpp"
#include "sparsify/quantization/plan.hpp"

namespace sparsify::onnx {

/// A trained quantization, looked up the way lowering needs it.
class Quantizers {
 public:
  /// Throws Error when the plan is not for this target. The plan may name sites that evaluation does not
  /// visit.
  Quantizers(const TrainedQuantization* trained, const Graph& graph, Target target);

  bool active() const { return trained_ != nullptr; }
  /// The activation quantizer that the plan puts on a value, -1 for none.
  int of_value(int value) const;
  /// The activation quantizer on whose grid the plan says a value lies without being rounded, -1 for none.
  int carried_by(int value) const;
  /// The site under which the plan rounds a value; empty for none.
  std::string site_of(int value) const;
  /// The activation quantizer of a site, also of one inside an operator ("....sigmoid"), -1 for none.
  int of_site(const std::string& site) const;
  /// The weight quantizer of a layer's call site, -1 for none.
  int of_layer(const std::string& site) const;

  const WeightQuantizer& weight(int index) const { return trained_->plan.weights[index]; }
  const QuantizerParameters& weight_parameters(int index) const { return trained_->weights[index]; }
  const std::string& site(int activation) const { return trained_->plan.activations[activation].site; }
  /// Rank-0 float32.
  at::Tensor scale(int activation) const;
  /// Rank-0, uint8 or int8 as the range says.
  at::Tensor zero_point(int activation) const;
  /// The ends of the grid: real values.
  double lowest(int activation) const;
  double highest(int activation) const;
  const std::vector<UnquantizedLayer>& unquantized() const;

 private:
  void place(const Graph& graph);
  void check(Target target) const;

  const TrainedQuantization* trained_;
  std::map<int, int> by_value_, carried_;
  std::map<int, std::string> sites_;  // of by_value_
  std::map<std::string, int> by_site_, by_layer_;
};

}  // namespace sparsify::onnx
