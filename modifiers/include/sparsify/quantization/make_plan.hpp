// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <map>
#include <numeric>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "sparsify/error.hpp"
#include "sparsify/graph/readers.hpp"
#include "sparsify/parameters.hpp"
#include "sparsify/quantization/float_rules.hpp"
#include "sparsify/quantization/gates.hpp"
#include "sparsify/quantization/layer_targets.hpp"
#include "sparsify/quantization/node_kinds.hpp"
#include "sparsify/quantization/plan.hpp"
#include "sparsify/quantization/scheme_options.hpp"

namespace sparsify {

namespace detail {

/// Follows the data from the layers that should compute in integers to the tensors that must lie on a grid
/// for that.
class PlanMaker {
 public:
  PlanMaker(const Graph& graph, const std::string& scheme, const std::vector<std::string>& ignore,
            const std::vector<std::string>& submodules, const SchemeOptions& options)
      : graph_(graph),
        is_cpu_(scheme == "cpu"),
        ignore_("ignore", ignore),
        submodules_("submodules", submodules),
        bits_(options.bits),
        per_tensor_("weight_strategy", options.per_tensor),
        all_per_tensor_(options.all_per_tensor),
        symmetric_(options.symmetric),
        readers_(graph) {
    if (scheme != "cpu" && scheme != "gpu")
      throw InvalidField("scheme", "expected cpu or gpu, got '" + scheme + "'");
    plan_.scheme = scheme;
    const auto count = graph.values.size();
    demanded_.resize(count, false);
    rounded_.resize(count, false);
    class_.resize(count);
    std::iota(class_.begin(), class_.end(), 0);
  }

  QuantizationPlan make() {
    find_layers();
    ignore_.check_used();
    submodules_.check_used();
    bits_.check_used();
    per_tensor_.check_used();
    for (const auto& layer : layers_) {
      demand(graph_.nodes[layer.node].value("input"));
      // On the CPU a convolution is integer only when its output is rounded as well; a linear layer needs no
      // output.
      if (is_cpu_ && graph_.nodes[layer.node].op != "aten::linear") demand(layer.end);
    }
    number_quantizers();
    for (const auto& layer : layers_) {
      auto weight = describe(layer);
      if (weight.input >= 0)
        plan_.weights.push_back(std::move(weight));
      else
        plan_.unquantized.push_back(left_float(weight.site, float_rules::kConstantInput));
    }
    return std::move(plan_);
  }

 private:
  struct Layer {
    int node = -1;
    int batch_norm = -1;  ///< the node that is folded into it
    int end = -1;         ///< the value after batch-norm and activation
    int bits = 8;         ///< of the weight
    bool per_tensor = false;
  };

  // --- layers ---

  void find_layers() {
    const auto gates = is_cpu_ ? std::set<int>{} : layers_of_gates(graph_);
    for (int i = 0; i < static_cast<int>(graph_.nodes.size()); ++i) {
      const auto& node = graph_.nodes[i];
      if (!is_weighted(node) && !is_product_with_parameter(node)) continue;
      auto layer = follow(i);
      choose_weight_form(node, layer);
      const auto* rule = why_float(node, layer);
      if (!rule && gates.count(i)) rule = &float_rules::kGate;
      if (rule)
        plan_.unquantized.push_back(left_float(node.site, *rule, node.op));
      else
        layers_.push_back(layer);
    }
  }

  bool is_product_with_parameter(const GraphNode& node) const {
    if (!op_is(node, {"matmul", "mm", "addmm"})) return false;
    const int right = node.value(node.op == "aten::matmul" ? "other" : "mat2");
    return right >= 0 && graph_.values[right].is_parameter;
  }

  void choose_weight_form(const GraphNode& node, Layer& layer) {
    const int weight = node.value("weight");
    if (weight < 0) return;
    layer.bits = bits_.of(node, graph_.values[weight]);
    layer.per_tensor = per_tensor_.match(node, graph_.values[weight]) || all_per_tensor_;
  }

  Layer follow(int node) const {
    Layer layer{node, -1, graph_.nodes[node].outputs.front()};
    int next = readers_.sole(layer.end);
    if (next >= 0 && graph_.nodes[node].op == "aten::conv2d" && graph_.nodes[next].op == "aten::batch_norm" &&
        graph_.nodes[next].value("input") == layer.end && !batch_norm_name(graph_.nodes[next]).empty()) {
      layer.batch_norm = next;
      layer.end = graph_.nodes[next].outputs.front();
      next = readers_.sole(layer.end);
    }
    if (next >= 0 && belongs_to_layer(graph_.nodes[next])) layer.end = graph_.nodes[next].outputs.front();
    return layer;
  }

  bool belongs_to_layer(const GraphNode& node) const {
    return is_cpu_ ? clips_at_zero(node) : is_activation(node);
  }

  // "layer1.0.bn1" of a batch-norm whose statistics and parameters are the model's.
  std::string batch_norm_name(const GraphNode& node) const {
    const int mean = node.value("running_mean");
    if (mean < 0 || node.value("running_var") < 0) return "";
    const std::string& name = graph_.values[mean].name;
    const std::string suffix = "running_mean";
    if (name.size() < suffix.size() || name.compare(name.size() - suffix.size(), suffix.size(), suffix) != 0)
      return "";
    const auto prefix = name.substr(0, name.size() - suffix.size());
    for (const auto* part : {"running_var", "weight", "bias"})
      if (!is_given_or_absent(node.value(part), prefix + part)) return "";
    return prefix.empty() ? "." : prefix.substr(0, prefix.size() - 1);
  }

  // Whether the value is the tensor of that name, or none is given and there is none.
  bool is_given_or_absent(int value, const std::string& name) const {
    if (value >= 0) return graph_.values[value].name == name;
    return std::none_of(graph_.values.begin(), graph_.values.end(),
                        [&](const GraphValue& other) { return other.name == name; });
  }

  // Null: it computes in integers.
  const FloatRule* why_float(const GraphNode& node, const Layer& layer) {
    const int weight = node.value("weight");
    if (is_product_with_parameter(node)) return &float_rules::kNotTransposed;
    const auto& value = graph_.values[weight];
    if (value.producer >= 0) return &float_rules::kComputedWeight;
    if (value.name.empty()) return &float_rules::kForeignWeight;
    if (!value.is_parameter) return &float_rules::kBufferWeight;
    if (is_captured(node.value("input"))) return &float_rules::kConstantInput;
    if (ignore_.match(node, value)) return &float_rules::kIgnored;
    if (!submodules_.match(node, value) && !submodules_.empty()) return &float_rules::kOutsideSubmodules;
    if (node.op != "aten::conv2d" && node.op != "aten::linear") return &float_rules::kNoIntegerKernel;
    const bool is_read = !readers_.of(layer.end).empty();
    if (node.op == "aten::conv2d" && !is_read) return &float_rules::kFloatOutput;
    return nullptr;
  }

  // --- demands ---

  int find(int value) {
    while (class_[value] != value) value = class_[value] = class_[class_[value]];
    return value;
  }

  int producer(int value) const { return graph_.values[value].producer; }
  // Constants, and integers, which lie on no grid.
  bool is_captured(int value) const {
    return value < 0 || graph_.values[value].tensor.defined() ||
           !at::isFloatingType(graph_.values[value].dtype);
  }

  void demand(int value) {
    if (is_captured(value) || demanded_[value]) return;
    demanded_[value] = true;
    if (producer(value) < 0) {
      rounded_[value] = true;
      return;
    }
    const auto& node = graph_.nodes[producer(value)];
    auto sources = node.arguments.empty() ? std::vector<int>{} : node.arguments.front().values;
    if (passes_values(node)) sources.resize(1);
    const bool hands_on = passes_values(node) || is_concatenation(node);
    if (hands_on &&
        !std::all_of(sources.begin(), sources.end(), [&](int source) { return is_captured(source); }))
      return share(value, sources);
    rounded_[value] = true;
    demand_inputs(*source(&node));
  }

  void share(int value, const std::vector<int>& sources) {
    for (const int source : sources) {
      if (is_captured(source)) continue;
      demand(source);
      class_[find(source)] = find(value);
    }
  }

  // A ReLU belongs to what computes its input: the sum, for one.
  const GraphNode* source(const GraphNode* node) const {
    if (!belongs_to_layer(*node)) return node;
    const int input = node->arguments.front().values.front();
    return input >= 0 && producer(input) >= 0 && readers_.sole(input) >= 0 ? &graph_.nodes[producer(input)]
                                                                           : node;
  }

  // What must be on a grid so that the node itself computes in integers.
  void demand_inputs(const GraphNode& node) {
    if (averages(node)) return demand(node.arguments.front().values.front());
    if (is_residual(node)) {
      const int left = node.value("self"), right = node.value("other");
      if (is_cpu_) return demand(left), demand(right);
      return demand(is_main_branch(left, right) ? right : left);
    }
    if (!is_cpu_) return;
    if (op_is(node, {"leaky_relu", "silu", "sigmoid"})) demand(node.arguments.front().values.front());
    if (op_is(node, {"mul"}) && !is_captured(node.value("self")) && !is_captured(node.value("other")))
      demand(node.value("self")), demand(node.value("other"));
  }

  bool is_residual(const GraphNode& node) const {
    return node.op == "aten::add" && !is_captured(node.value("self")) && !is_captured(node.value("other")) &&
           number(node, "alpha", 1) == 1;
  }

  // Engines fuse the sum into the convolution of the longer branch; the other one, the skip side, is what
  // gets rounded.
  bool is_main_branch(int left, int right) const {
    const int left_length = branch_length(left), right_length = branch_length(right);
    return left_length != right_length ? left_length > right_length : true;
  }

  // Weighted layers from a value back to where it forks off; 0 when the value itself has other readers.
  int branch_length(int value) const {
    int length = 0;
    while (value >= 0 && readers_.sole(value) >= 0 && producer(value) >= 0) {
      const auto& node = graph_.nodes[producer(value)];
      length += is_weighted(node);
      value = node.arguments.empty() || node.arguments.front().values.empty()
                  ? -1
                  : node.arguments.front().values.front();
    }
    return length;
  }

  // --- result ---

  bool non_negative(int value) const {
    if (value < 0) return false;
    if (graph_.values[value].tensor.defined())
      return graph_.values[value].tensor.numel() == 0 ||
             graph_.values[value].tensor.min().item<double>() >= 0;
    if (producer(value) < 0) return false;
    const auto& node = graph_.nodes[producer(value)];
    if (never_negative(node)) return true;
    if (!keeps_sign(node)) return false;
    for (const auto& argument : node.arguments) {
      for (const int input : argument.values)
        if (!non_negative(input)) return false;
      if (argument.values.empty() && argument.constant.isScalar() && argument.name != "dim" &&
          argument.constant.toScalar().toDouble() < 0 && op_is(node, {"add", "mul"}))
        return false;
    }
    return true;
  }

  std::string site_of(int value) const {
    auto site = graph_.site_of(value);
    if (site.rfind("foreign/", 0) == 0)
      throw Error("a quantized layer reads what " + graph_.nodes[producer(value)].op +
                  " computes right after a layer that is not the model's: run the teacher before or after "
                  "the model, or outside step.forward");
    return site;
  }

  void number_quantizers() {
    std::vector<int> order(graph_.values.size());
    std::iota(order.begin(), order.end(), 0);
    const auto place = [&](int value) { return std::make_pair(producer(value), graph_.values[value].input); };
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return place(a) < place(b); });
    const auto add_once = [](std::vector<std::string>& list, const std::string& site) {
      if (std::find(list.begin(), list.end(), site) == list.end()) list.push_back(site);
    };
    for (const int value : order) {
      if (!rounded_[value]) continue;
      const auto [entry, is_new] = numbers_.emplace(find(value), static_cast<int>(plan_.activations.size()));
      if (is_new) {
        ActivationQuantizer quantizer{site_of(value), {}, non_negative(value)};
        quantizer.range = is_cpu_ ? ActivationRange{0, 255, symmetric_} : ActivationRange{-128, 127, true};
        plan_.activations.push_back(quantizer);
      } else {
        auto& quantizer = plan_.activations[entry->second];
        quantizer.non_negative = quantizer.non_negative && non_negative(value);
        if (site_of(value) != quantizer.site) add_once(quantizer.shared_sites, site_of(value));
      }
      if (const auto* sum = rectified_sum(value))
        add_once(plan_.activations[entry->second].rectified_sums, sum->site);
      add_sigmoid(value);
    }
    for (const int value : order) {
      const int quantizer = quantizer_of(value);
      if (quantizer < 0) continue;
      if (!rounded_[value]) add_once(plan_.activations[quantizer].carried_sites, site_of(value));
      if (readers_.is_output(value)) plan_.activations[quantizer].returned = true;
    }
  }

  // The addition whose ReLU gives this value; null: there is none.
  const GraphNode* rectified_sum(int value) const {
    if (producer(value) < 0 || graph_.nodes[producer(value)].op != "aten::relu") return nullptr;
    const auto* summing = source(&graph_.nodes[producer(value)]);
    return is_residual(*summing) ? summing : nullptr;
  }

  // Integer engines compute x * sigmoid(x) in two steps, and round in between.
  void add_sigmoid(int value) {
    if (!is_cpu_ || producer(value) < 0 || graph_.nodes[producer(value)].op != "aten::silu") return;
    plan_.activations.push_back({site_of(value) + ".sigmoid", {0, 255, false}, true});
  }

  int quantizer_of(int value) {
    const auto found = demanded_[value] ? numbers_.find(find(value)) : numbers_.end();
    return found == numbers_.end() ? -1 : found->second;
  }

  WeightQuantizer describe(const Layer& layer) {
    const auto& node = graph_.nodes[layer.node];
    WeightQuantizer weight;
    weight.site = node.site;
    weight.bits = layer.bits;
    weight.per_tensor = layer.per_tensor;
    weight.input = quantizer_of(node.value("input"));
    weight.output = quantizer_of(layer.end);
    if (layer.batch_norm >= 0) {
      weight.batch_norm = batch_norm_name(graph_.nodes[layer.batch_norm]);
      weight.eps = number(graph_.nodes[layer.batch_norm], "eps", 1e-5);
    }
    if (rounded_[layer.end]) weight.clip = clip_of(graph_.nodes[producer(layer.end)]);
    if (node.value("bias") >= 0) weight.bias = graph_.values[node.value("bias")].name;
    return weight;
  }

  const Graph& graph_;
  const bool is_cpu_;
  LayerTargets ignore_, submodules_;
  BitsOfLayers bits_;
  LayerTargets per_tensor_;
  bool all_per_tensor_, symmetric_;
  QuantizationPlan plan_;
  std::vector<Layer> layers_;
  Readers readers_;
  std::vector<bool> demanded_, rounded_;
  std::vector<int> class_;      ///< values that share a grid, as a union-find forest
  std::map<int, int> numbers_;  ///< quantizer of each class
};

}  // namespace detail

/// Decides which tensors of a recorded forward pass are rounded, so that engines run it in integers.
/// `scheme`: "cpu" (unsigned activations, every sum and concatenation on grids) or "gpu" (signed symmetric,
/// only the skip side of sums). `ignore`: layers to leave in floating point; `submodules`: when there are
/// any, layers outside them stay in floating point too. Throws InvalidField for an entry that matches no
/// layer.
inline QuantizationPlan make_plan(const Graph& graph, const std::string& scheme,
                                  const std::vector<std::string>& ignore = {},
                                  const std::vector<std::string>& submodules = {},
                                  const SchemeOptions& options = {}) {
  return detail::PlanMaker(graph, scheme, ignore, submodules, options).make();
}

}  // namespace sparsify
