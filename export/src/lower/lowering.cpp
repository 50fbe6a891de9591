// SPDX-License-Identifier: Apache-2.0
#include "lower/lowering.hpp"

#include <ATen/ATen.h>

#include <algorithm>

#include "ir/proto.hpp"
#include "lower/rules.hpp"
#include "passes/graph_passes.hpp"
#include "sparsify/error.hpp"

namespace sparsify::onnx {

std::string node_name(const std::string& site) {
  const std::string part = "weight";
  const auto end = std::min(site.find_first_of("/@"), site.size());  // "@1": the second use of a weight
  if (end == part.size() && site.compare(0, end, part) == 0) return "model" + site.substr(end);
  if (end > part.size() && site.compare(end - part.size() - 1, part.size() + 1, "." + part) == 0)
    return site.substr(0, end - part.size() - 1) + site.substr(end);
  return site.empty() ? "node" : site;
}

Lowering::Lowering(const Graph& graph, const TrainedQuantization* trained, const ExportOptions& options,
                   ExportReport& report)
    : graph_(graph),
      options_(options),
      report_(report),
      quantizers_(trained, graph, options.target),
      tensors_(graph.values.size()),
      grid_(graph.values.size(), -1),
      batch_(graph.values.size(), -1) {
  folds_ = foldable_batch_norms(graph_, [&](int value) { return quantizers_.of_value(value) >= 0; });
}

Model Lowering::run() {
  for (const auto& value : graph_.values)
    if (!value.name.empty()) names_.insert(value.name);  // parameters keep their names
  bind_inputs();
  lower_nodes();
  bind_outputs();
  return std::move(model_);
}

void Lowering::bind_inputs() {
  for (std::size_t i = 0; i < graph_.inputs.size(); ++i) {
    const int value = graph_.inputs[i];
    const auto& given = options_.input_names;
    auto input =
        i < given.size() ? given[i] : (given.empty() ? "input" : given.back()) + "_" + std::to_string(i);
    if (!names_.insert(input).second)
      throw Error("input name '" + input + "' is taken by a parameter or another input");
    const auto& sizes = graph_.values[value].sizes;
    const int batch = options_.dynamic_batch && !sizes.empty() ? 0 : -1;
    model_.inputs.push_back({input, sizes, graph_.values[value].dtype, batch});
    bind(value, input, batch);
  }
}

void Lowering::lower_nodes() {
  std::set<int> waiting;  // layers that are lowered together with the batch-norm after them
  for (const auto& [norm, layer] : folds_) waiting.insert(layer);
  for (int i = 0; i < static_cast<int>(graph_.nodes.size()); ++i) {
    if (waiting.count(i)) continue;
    Call call(*this, graph_.nodes[i]);
    const auto* rule = find_rule(graph_.nodes[i].op);
    if (!rule) call.refuse("this operator cannot be exported");
    (*rule)(call);
  }
}

void Lowering::bind_outputs() {
  for (std::size_t i = 0; i < graph_.outputs.size(); ++i) {
    const int value = graph_.outputs[i];
    const auto& given = options_.output_names;
    const auto output =
        i < given.size() ? given[i] : (given.empty() ? "output" : given.back()) + "_" + std::to_string(i);
    if (!names_.insert(output).second) throw Error("output name '" + output + "' is taken by another tensor");
    model_.nodes.push_back({"Identity", unique(node_names_, output + "/Identity"), {read(value)}, {output}});
    // The producer writes the output itself, unless it is an input, a constant or an output already.
    const auto tensor = model_.nodes.back().inputs[0];
    const auto is_port = [&](const Port& port) { return port.name == tensor; };
    const bool direct = !model_.initializers.count(tensor) &&
                        std::none_of(model_.inputs.begin(), model_.inputs.end(), is_port) &&
                        std::none_of(model_.outputs.begin(), model_.outputs.end(), is_port);
    if (direct) {
      model_.nodes.pop_back();
      for (auto& node : model_.nodes) {
        std::replace(node.inputs.begin(), node.inputs.end(), tensor, output);
        std::replace(node.outputs.begin(), node.outputs.end(), tensor, output);
      }
      std::replace(tensors_.begin(), tensors_.end(), tensor, output);
    }
    model_.outputs.push_back({output, graph_.values[value].sizes, graph_.values[value].dtype, batch_[value]});
  }
}

std::string Lowering::read(int value) {
  auto& tensor = tensors_.at(value);
  if (!tensor.empty()) return tensor;
  const auto& recorded = graph_.values[value];
  if (!recorded.tensor.defined()) throw Error("the recorded graph reads a tensor before it is computed");
  tensor = initializer(recorded.name.empty() ? "constant" : recorded.name, recorded.tensor);
  return tensor;
}

std::string Lowering::read_as(int value, at::ScalarType type) {
  const auto& recorded = graph_.values[value];
  if (recorded.tensor.defined() && recorded.tensor.scalar_type() != type)
    return initializer(recorded.name.empty() ? "constant" : recorded.name + "/cast",
                       recorded.tensor.to(type));
  if (recorded.tensor.defined() || recorded.dtype == type) return read(value);
  return emit("Cast", "cast", {read(value)}, {{"to", std::int64_t{to_onnx_type(type, "cast")}}});
}

std::string Lowering::unique(std::set<std::string>& taken, const std::string& name) {
  auto candidate = name;
  for (int i = 1; !taken.insert(candidate).second; ++i) candidate = name + "#" + std::to_string(i);
  return candidate;
}

std::string Lowering::emit(const std::string& op, const std::string& name, std::vector<std::string> inputs,
                           Attributes attributes) {
  const auto unused = unique(node_names_, name);
  const auto output = unique(names_, unused + "/output");
  model_.nodes.push_back({op, unused, std::move(inputs), {output}, std::move(attributes)});
  return output;
}

std::vector<std::string> Lowering::emit_split(const std::string& name, std::vector<std::string> inputs,
                                              std::size_t outputs, Attributes attributes) {
  const auto unused = unique(node_names_, name);
  std::vector<std::string> tensors;
  for (std::size_t i = 0; i < outputs; ++i)
    tensors.push_back(unique(names_, unused + "/output_" + std::to_string(i)));
  model_.nodes.push_back({"Split", unused, std::move(inputs), tensors, std::move(attributes)});
  return tensors;
}

std::string Lowering::initializer(const std::string& name, const at::Tensor& tensor) {
  for (int i = 0;; ++i) {
    const auto candidate = i == 0 ? name : name + "#" + std::to_string(i);
    const auto found = model_.initializers.find(candidate);
    if (found == model_.initializers.end()) {
      if (i > 0 && names_.count(candidate)) continue;
      names_.insert(candidate);
      model_.initializers[candidate] = tensor.detach();
      return candidate;
    }
    if (found->second.scalar_type() == tensor.scalar_type() && at::equal(found->second.cpu(), tensor.cpu()))
      return candidate;
  }
}

std::string Lowering::integers(const std::string& name, const Ints& values) {
  return initializer(name, at::tensor(values, at::kLong));
}

std::string Lowering::scalar(const std::string& name, double value, at::ScalarType type) {
  return initializer(name, at::scalar_tensor(value, type));
}

void Lowering::bind(int value, const std::string& tensor, int batch, int passed) {
  batch_[value] = batch;
  const int planned = quantizers_.of_value(value);
  int carried = quantizers_.carried_by(value);
  if (carried < 0 && passed >= 0) carried = grid_[passed];
  grid_[value] = planned >= 0 ? planned : carried;
  const bool already = planned < 0 || planned == carried;
  // CPU engines take an operator for integers only between equal quantizers; TensorRT moves them itself, and
  // a pair in between would stop it from fusing a Pad.
  const bool write = grid_[value] >= 0 && (!already || options_.target == Target::kCpu);
  tensors_[value] = write ? round(tensor, grid_[value], quantizers_.site_of(value)) : tensor;
}

void Lowering::alias(int value, int source) {
  if (is_constant(source)) read(source);
  const int planned = quantizers_.of_value(value);
  if (planned >= 0 && planned != grid_[source]) return bind(value, read(source), batch_[source]);
  tensors_[value] = tensors_[source];
  grid_[value] = grid_[source];
  batch_[value] = batch_[source];
}

std::string Lowering::round(const std::string& tensor, int quantizer, const std::string& site) {
  if (quantizer < 0) return tensor;
  const auto name = node_name(quantizers_.site(quantizer));
  const auto scale = initializer(name + "/scale", quantizers_.scale(quantizer));
  const auto zero_point = initializer(name + "/zero_point", quantizers_.zero_point(quantizer));
  const auto integers = emit("QuantizeLinear", tensor + "/quantize", {tensor, scale, zero_point});
  if (!site.empty()) report_.rounded.push_back({site, quantizer, integers});
  return emit("DequantizeLinear", tensor + "/dequantize", {integers, scale, zero_point});
}

const GraphNode* Lowering::folded_layer(const GraphNode& batch_norm) const {
  const auto index = static_cast<int>(&batch_norm - graph_.nodes.data());
  const auto found = folds_.find(index);
  return found == folds_.end() ? nullptr : &graph_.nodes[found->second];
}

}  // namespace sparsify::onnx
