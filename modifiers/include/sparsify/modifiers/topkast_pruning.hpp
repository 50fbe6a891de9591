// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/ops/where.h>

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "sparsify/masks/smallest.hpp"
#include "sparsify/modifiers/gradual_pruning.hpp"
#include "sparsify/registry.hpp"

namespace sparsify {

/// Top-KAST (Jayakumar et al. 2021, arXiv 2106.03517): the forward pass uses the weights of largest
/// magnitude, the optimizer moves a larger set of them, so that weights outside can grow into use. Between
/// steps the model holds what the forward pass uses; at `end_epoch` the masks become ordinary ones.
class TopKASTPruning : public Modifier {
 public:
  static constexpr const char* kName = "TopKASTPruningModifier";
  struct Options {
    Window window{0, -1};
    double update_frequency = 0.1;
    Value forward_sparsity{};
    Value backward_sparsity{};
    std::vector<std::string> params = {"__ALL_PRUNABLE__"};
    bool global_sparsity = true;
    double active_weight_decay = 1e-4;
    std::vector<std::string> exclude{};
    template <class Visitor>
    void fields(Visitor& visit) {
      window.fields(visit);
      visit("update_frequency", update_frequency, "epochs between mask updates; -1: every step");
      visit("forward_sparsity", forward_sparsity,
            "fraction of weights the forward pass does not use, 0 to 1");
      visit("backward_sparsity", backward_sparsity,
            "fraction of weights the optimizer does not move, 0 to forward_sparsity");
      visit_selection(visit, params, exclude);
      visit("global_sparsity", global_sparsity, "one threshold over all selected weights, not one for each");
      visit(
          "active_weight_decay", active_weight_decay,
          "weight decay of the weights in use; those only the optimizer sees have it divided by the share in "
          "use");
    }
  };
  explicit TopKASTPruning(const Options& options) : Modifier(options.window), options_(options) {
    check(options.window, true);
    for (const auto& [field, value] : {std::pair{"forward_sparsity", &options.forward_sparsity},
                                       std::pair{"backward_sparsity", &options.backward_sparsity}}) {
      if (value->is(Value::Kind::kNone)) throw InvalidField(field, "is required, a fraction from 0 to 1");
      detail::check_sparsity(field, *value);
    }
    if (options.backward_sparsity.number > options.forward_sparsity.number)
      throw InvalidField("backward_sparsity",
                         "must not be above forward_sparsity: the optimizer moves at "
                         "least the weights in use");
    if (options.forward_sparsity.number >= 1)
      throw InvalidField("forward_sparsity", "expected less than 1: nothing would be in use");
    check_update_frequency(options.update_frequency);
    if (!(options.active_weight_decay >= 0)) throw InvalidField("active_weight_decay", "expected 0 or more");
  }

  void attach(Binding& binding) override {
    plan_ = binding.plan(window(), options_.update_frequency);
    selected_ = binding.select(options_.params, options_.exclude);
    for (const auto& parameter : selected_)
      binding.claim("the mask of " + parameter.name, plan_.start, plan_.end);
    const double sparsity = options_.forward_sparsity.number;
    binding.schedule({options_.global_sparsity ? "sparsity of all together" : "sparsity", plan_,
                      names_of(selected_), [sparsity](std::int64_t) { return sparsity; }});
  }

  void begin_step(State& state) override {
    if (plan_.updates_at(state.step)) {
      show();
      choose();
      hide();
    } else if (shown_) {
      hide();  // the step before did not come to its end
    }
    if (state.step != plan_.last()) return;
    for (const auto& parameter : selected_) {  // the last step trains with ordinary masks
      const auto mask = in_use_.at(parameter.name);
      state.masks.set(parameter, mask);
      state.optimizer_access.mask_state(parameter.tensor, mask);
    }
    in_use_.clear(), moved_.clear(), values_.clear();
  }

  void gradients(State&) override {
    if (in_use_.empty()) return;
    show();
    at::NoGradGuard no_grad;
    const double decay = options_.active_weight_decay, share = 1 - options_.forward_sparsity.number;
    for (const auto& parameter : selected_) {
      if (!parameter.tensor.grad().defined()) continue;
      auto gradient = parameter.tensor.grad().detach();
      const auto weight = parameter.tensor.detach();
      gradient.add_(at::where(in_use_.at(parameter.name), weight * decay, weight * (decay / share)));
      apply_mask_(gradient, moved_.at(parameter.name));
    }
  }

  void end_step(State& state) override {
    if (in_use_.empty()) return;
    // The optimizer's own momentum and weight decay must not move what has no gradient.
    at::NoGradGuard no_grad;
    for (const auto& parameter : selected_) {
      const auto& moved = moved_.at(parameter.name);
      auto weight = parameter.tensor.detach();
      weight.copy_(at::where(moved, weight, values_.at(parameter.name)));
      state.optimizer_access.mask_state(parameter.tensor, moved);
    }
    hide();
  }

  void finish(State& state) override {
    if (state.step < plan_.end) throw Error("training stopped before end_epoch: the masks are not yet fixed");
    double zeros = 0, total = 0;
    for (const auto& parameter : selected_) {
      const auto count = parameter.tensor.numel();
      total += static_cast<double>(count);
      zeros += static_cast<double>(count - parameter.tensor.detach().count_nonzero().item<std::int64_t>());
    }
    if (zeros < std::floor(options_.forward_sparsity.number * total) - static_cast<double>(selected_.size()))
      throw Error("the selected weights are less sparse than forward_sparsity at the end");
  }

  void save(StateDict& state) const override {
    for (const auto& [name, mask] : in_use_) {
      state["in_use." + name] = mask;
      state["moved." + name] = moved_.at(name);
      state["values." + name] = values_.at(name);
    }
  }
  void load(const StateDict& state) override {
    in_use_.clear(), moved_.clear(), values_.clear();
    for (const auto& [name, tensor] : tensors_of_names()) {
      if (!state.count("in_use." + name)) continue;
      in_use_[name] = state.at("in_use." + name).to(tensor.device());
      moved_[name] = state.at("moved." + name).to(tensor.device());
      values_[name] = state.at("values." + name).to(tensor.device()).clone();
    }
  }

 private:
  std::map<std::string, at::Tensor> tensors_of_names() const {
    std::map<std::string, at::Tensor> tensors;
    for (const auto& parameter : selected_) tensors[parameter.name] = parameter.tensor.detach();
    return tensors;
  }

  void choose() {
    const auto masks = [&](double sparsity) {
      std::vector<std::vector<at::Tensor>> sets;
      std::vector<std::int64_t> pruned;
      for (const auto& parameter : selected_) {
        if (sets.empty() || !options_.global_sparsity) sets.emplace_back(), pruned.push_back(0);
        sets.back().push_back(parameter.tensor);
        pruned.back() += parameter.tensor.numel();
      }
      for (auto& count : pruned) count = std::llround(sparsity * static_cast<double>(count));
      std::map<std::string, at::Tensor> by_name;
      std::size_t next = 0;
      for (const auto& set : smallest_magnitude_masks(sets, pruned))
        for (const auto& mask : set) by_name[selected_[next++].name] = mask;
      return by_name;
    };
    in_use_ = masks(options_.forward_sparsity.number);
    moved_ = masks(options_.backward_sparsity.number);
  }

  /// The model holds all weights again.
  void show() {
    if (shown_) return;
    at::NoGradGuard no_grad;
    for (const auto& [name, tensor] : tensors_of_names())
      if (in_use_.count(name)) tensor.copy_(at::where(in_use_.at(name), tensor, values_.at(name)));
    shown_ = true;
  }

  /// Keeps all weights aside, and leaves those in use in the model.
  void hide() {
    at::NoGradGuard no_grad;
    for (const auto& [name, tensor] : tensors_of_names()) {
      auto& value = values_[name];
      if (value.defined())
        value.copy_(tensor);
      else
        value = tensor.clone();
      apply_mask_(tensor, in_use_.at(name));
    }
    shown_ = false;
  }

  Options options_;
  StepPlan plan_;
  Parameters selected_;
  std::map<std::string, at::Tensor> in_use_, moved_;  // masks of the forward pass and of the optimizer
  std::map<std::string, at::Tensor> values_;          // of all weights
  bool shown_ = false;                                // the model holds all weights
};

}  // namespace sparsify
