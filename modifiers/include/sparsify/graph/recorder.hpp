// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <functional>
#include <string>
#include <tuple>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

#include "sparsify/error.hpp"
#include "sparsify/graph/canonical.hpp"
#include "sparsify/graph/forward_mode.hpp"
#include "sparsify/graph/graph.hpp"
#include "sparsify/graph/sites.hpp"

namespace sparsify {

/// Builds a Graph from the operators of one forward pass, which runs as it would without it.
class Recorder : public ForwardMode {
 public:
  Recorder(const Parameters& parameters, const Parameters& buffers)
      : names_(parameters, buffers), sites_(names_) {}

  /// Declares a tensor as the next input of the graph before the pass; without this, captured floating-point
  /// tensors with two dimensions or more count as inputs, in the order of their first use, and all others as
  /// constants. Sites number inputs by first use in either case: passes that declare none must find them.
  void add_input(const at::Tensor& tensor) {
    declared_inputs_ = true;
    graph_.inputs.push_back(bind_new(tensor));
    if (!captured_.emplace(storage_of(tensor), graph_.inputs.back()).second)
      throw Error("two example inputs lie in the same memory, by which inputs are told apart: clone one");
  }

  void call(const c10::OperatorHandle& op, c10::DispatchKeySet keys, c10::Stack* stack) override {
    const auto& facts = operators_(op);
    if (facts.decompose) return run_inside(op, keys, stack);
    const c10::impl::ExcludeDispatchKeyGuard without_mode(kModeKey);
    const auto& schema = op.schema();
    const std::size_t count = schema.arguments().size();
    GraphNode node;
    node.op = facts.name;
    std::vector<at::Tensor> inputs, written;
    for (std::size_t i = 0; i < count; ++i) {
      const auto& value = (*stack)[stack->size() - count + i];
      const auto& argument = schema.arguments()[i];
      const bool writes = argument.alias_info() && argument.alias_info()->isWrite();
      if (writes) each_tensor(value, [&](const at::Tensor& tensor) { written.push_back(tensor); });
      if (argument.is_out()) continue;
      node.arguments.push_back(describe(argument.name(), value, facts, inputs));
    }
    sites_.enter(facts, stack->data() + stack->size() - count);
    for (const auto& input : inputs) make_input(input, sites_.number_input(facts, input));
    run_below(op, stack);

    std::vector<at::Tensor> outputs;
    for (std::size_t i = stack->size() - schema.returns().size(); i < stack->size(); ++i)
      each_tensor((*stack)[i], [&](const at::Tensor& tensor) { outputs.push_back(tensor); });
    if (outputs.empty()) return;
    note_computed(inputs, outputs);
    node.site = sites_.leave(facts, outputs.front());
    if (written.empty() && std::all_of(outputs.begin(), outputs.end(), [&](const at::Tensor& output) {
          return !output.defined() || contains(inputs, output);
        }))
      return;  // gave its input back: dropout in evaluation, contiguous() on what is contiguous
    for (const auto& tensor : written) make_aliases_stale(tensor, facts.name);
    if (is_constant(node)) {
      for (const auto& output : outputs) bind_constant(output);
      return;
    }
    for (const auto& output : outputs) {
      node.outputs.push_back(output.defined() ? bind_new(output) : -1);
      if (output.defined())
        graph_.values[node.outputs.back()].producer = static_cast<int>(graph_.nodes.size());
    }
    graph_.nodes.push_back(std::move(node));
  }

  /// Counts a tensor of the pass as an output even if an operator reads it.
  void note_result(const at::Tensor& tensor) {
    const auto known = current_.find(tensor.unsafeGetTensorImpl());
    if (known != current_.end()) results_.push_back(known->second.value);
  }

  /// The graph, after the pass. `outputs`: what the pass returned; empty: whatever nothing else reads.
  Graph finish(const std::vector<at::Tensor>& outputs = {}) {
    for (const auto& output : outputs)
      graph_.outputs.push_back(value_of(output, "the forward pass's result"));
    current_.clear();
    kept_.clear();
    canonicalise(graph_);
    for (const int result : results_)
      if (std::find(graph_.outputs.begin(), graph_.outputs.end(), result) == graph_.outputs.end())
        graph_.outputs.push_back(result);
    return std::move(graph_);
  }

 private:
  static bool contains(const std::vector<at::Tensor>& tensors, const at::Tensor& wanted) {
    return std::any_of(tensors.begin(), tensors.end(),
                       [&](const at::Tensor& tensor) { return tensor.is_same(wanted); });
  }

  GraphArgument describe(const std::string& name, const c10::IValue& value, const OperatorFacts& facts,
                         std::vector<at::Tensor>& inputs) {
    GraphArgument argument;
    argument.name = name;
    if (holds_tensors(value)) {
      each_tensor(value, [&](const at::Tensor& tensor) {
        argument.values.push_back(tensor.defined() ? value_of(tensor, facts.name) : -1);
        if (tensor.defined()) inputs.push_back(tensor);
      });
    } else if (!value.isGenerator()) {
      argument.constant = value;
    }
    return argument;
  }

  // Identity is the TensorImpl; the tensor is kept alive so that its address is not given to another one.
  int bind(const at::Tensor& tensor, int value) {
    current_[tensor.unsafeGetTensorImpl()] = Binding{value, ""};
    if (const auto* storage = storage_of(tensor)) aliases_[storage].push_back(tensor.unsafeGetTensorImpl());
    kept_.push_back(tensor);
    return value;
  }

  int add_value(const at::Tensor& tensor) {
    GraphValue value;
    value.sizes = tensor.sizes().vec();
    value.dtype = tensor.scalar_type();
    graph_.values.push_back(std::move(value));
    return static_cast<int>(graph_.values.size()) - 1;
  }

  int bind_new(const at::Tensor& tensor) { return bind(tensor, add_value(tensor)); }

  int bind_constant(const at::Tensor& tensor) {
    const int value = bind_new(tensor);
    graph_.values[value].tensor = tensor.detach();
    return value;
  }

  int value_of(const at::Tensor& tensor, const std::string& reader) {
    const auto known = current_.find(tensor.unsafeGetTensorImpl());
    if (known != current_.end()) {
      if (!known->second.overwritten_by.empty())
        throw Error(reader + " after " + sites_.here() + " reads a tensor whose memory " +
                    known->second.overwritten_by +
                    "_ has changed through another view; use the out-of-place " +
                    known->second.overwritten_by + " there");
      return known->second.value;
    }
    const auto found = names_.find(tensor);
    if (found && !found.transposed) {
      const auto [entry, is_new] = named_.emplace(found.named->name, 0);
      if (is_new) {
        entry->second = bind_constant(found.named->tensor);
        graph_.values[entry->second].tensor = found.named->tensor;
        graph_.values[entry->second].name = found.named->name;
        graph_.values[entry->second].is_parameter = found.is_parameter;
      }
      return tensor.is_same(found.named->tensor) ? entry->second : bind(tensor, entry->second);
    }
    if (const auto* same = undispatched_alias(tensor)) return bind(tensor, current_.at(same).value);
    const int value = bind_constant(tensor);
    if (!declared_inputs_ && tensor.is_floating_point() && tensor.dim() >= 2)
      captured_.emplace(storage_of(tensor), value);
    return value;
  }

  // `tensor.data()` and torch's factories hand on the same memory in a new TensorImpl without calling an
  // operator.
  const c10::TensorImpl* undispatched_alias(const at::Tensor& tensor) const {
    const auto others = aliases_.find(storage_of(tensor));
    if (others == aliases_.end()) return nullptr;
    const auto newest = std::find_if(others->second.rbegin(), others->second.rend(), [&](const auto* other) {
      return current_.at(other).overwritten_by.empty() && same_view(*other, *tensor.unsafeGetTensorImpl());
    });
    return newest == others->second.rend() ? nullptr : *newest;
  }

  void make_input(const at::Tensor& tensor, int number) {
    const auto captured = captured_.find(storage_of(tensor));
    if (number < 0 || captured == captured_.end()) return;
    auto& value = graph_.values[captured->second];
    if (value.input < 0 && !declared_inputs_) {
      value.tensor = at::Tensor();
      graph_.inputs.push_back(captured->second);
    }
    value.input = number;
  }

  void note_computed(const std::vector<at::Tensor>& inputs, const std::vector<at::Tensor>& outputs) {
    for (const auto& output : outputs) {
      if (!output.defined()) continue;
      const bool is_view = std::any_of(inputs.begin(), inputs.end(), [&](const at::Tensor& input) {
        return storage_of(input) == storage_of(output);
      });
      if (!is_view) sites_.note_computed(output);
    }
  }

  void make_aliases_stale(const at::Tensor& written, const std::string& op) {
    const auto others = aliases_.find(storage_of(written));
    if (others == aliases_.end()) return;
    for (auto* other : others->second)
      if (other != written.unsafeGetTensorImpl())
        current_[other].overwritten_by = op.substr(op.find("::") + 2);
  }

  // Calls on captured constants and buffers alone (grids, position tables) are constants themselves, once
  // inputs are declared.
  bool is_constant(const GraphNode& node) const {
    if (!declared_inputs_)
      return false;  // the images themselves may be captured as bytes, or made in the pass
    for (const auto& argument : node.arguments)
      for (const int value : argument.values)
        if (value >= 0 && (!graph_.values[value].tensor.defined() || graph_.values[value].is_parameter))
          return false;
    return true;
  }

  struct Binding {
    int value = -1;
    std::string overwritten_by;  ///< an in-place operator that worked on another view of its memory
  };

  TensorNames names_;
  SiteNames sites_;
  Operators operators_;
  Graph graph_;
  bool declared_inputs_ = false;
  std::unordered_map<const c10::TensorImpl*, Binding> current_;
  std::unordered_map<const void*, std::vector<const c10::TensorImpl*>> aliases_;
  std::unordered_map<const void*, int>
      captured_;  ///< by memory: values that are inputs, or become some once the model computes with them
  std::unordered_map<std::string, int> named_;
  std::vector<at::Tensor> kept_;
  std::vector<int> results_;
};

/// Records what `run` computes. Its inputs and outputs are found by use: captured images, and what nothing
/// reads; `results`, known once it ran, are outputs even if something reads them.
inline Graph record(const Parameters& parameters, const Parameters& buffers, const std::function<void()>& run,
                    const std::vector<at::Tensor>& results = {}) {
  Recorder recorder(parameters, buffers);
  {
    const ModeGuard guard(recorder);
    run();
  }
  for (const auto& result : results) recorder.note_result(result);
  return recorder.finish();
}

namespace detail {

inline void collect_tensors(const at::Tensor& tensor, std::vector<at::Tensor>& all) { all.push_back(tensor); }

template <class T>
void collect_tensors(const std::vector<T>& list, std::vector<at::Tensor>& all) {
  for (const auto& element : list) collect_tensors(element, all);
}

template <class... T>
void collect_tensors(const std::tuple<T...>& tuple, std::vector<at::Tensor>& all) {
  std::apply([&](const auto&... element) { (collect_tensors(element, all), ...); }, tuple);
}

template <class T>
inline constexpr bool kIsExample =
    std::is_same_v<T, at::Tensor> || std::is_same_v<T, std::vector<at::Tensor>>;

}  // namespace detail

/// Records a module on example inputs, as evaluation computes it: eval mode, no gradients; the module is left
/// as it was. `examples`: what `forward` takes, tensors or vectors of them: the graph's inputs, in that
/// order. `forward` may return a tensor, or vectors and tuples of them: the graph's outputs, in that order.
template <class Net, class... Examples, class = std::enable_if_t<(detail::kIsExample<Examples> && ...)>>
Graph record(Net& net, const Examples&... examples) {
  Parameters parameters, buffers;
  for (const auto& parameter : net.named_parameters())
    parameters.push_back({parameter.key(), parameter.value()});
  for (const auto& buffer : net.named_buffers()) buffers.push_back({buffer.key(), buffer.value()});
  const at::NoGradGuard no_grad;
  const struct Mode {
    Net& net;
    bool was_training;
    ~Mode() { net.train(was_training); }
  } mode{net, net.is_training()};
  net.eval();
  Recorder recorder(parameters, buffers);
  std::vector<at::Tensor> inputs, outputs;
  (detail::collect_tensors(examples, inputs), ...);
  for (const auto& input : inputs) recorder.add_input(input);
  {
    const ModeGuard guard(recorder);
    detail::collect_tensors(net.forward(examples...), outputs);
  }
  return recorder.finish(outputs);
}

}  // namespace sparsify
