// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/ops/where.h>

#include <cmath>
#include <string>
#include <vector>

#include "sparsify/masks/magnitude_masks.hpp"
#include "sparsify/modifiers/gradual_pruning.hpp"
#include "sparsify/odd_weights.hpp"
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
      window.bounded_fields(visit);
      visit("update_frequency", update_frequency, "epochs between mask updates; -1: every step",
            update_frequencies());
      visit("forward_sparsity", forward_sparsity, "fraction of weights the forward pass does not use",
            fraction().below(1).required());
      visit("backward_sparsity", backward_sparsity,
            "fraction of weights the optimizer does not move, at most forward_sparsity",
            fraction().required());
      visit_selection(visit, params, exclude);
      visit("global_sparsity", global_sparsity, "one threshold over all selected weights, not one for each");
      visit(
          "active_weight_decay", active_weight_decay,
          "weight decay of the weights in use; those only the optimizer sees have it divided by the share in "
          "use",
          at_least(0));
    }
  };
  explicit TopKASTPruning(const Options& options) : Modifier(options.window), options_(options) {
    check(options.window, true);
    for (const auto& [field, value] : {std::pair{"forward_sparsity", &options.forward_sparsity},
                                       std::pair{"backward_sparsity", &options.backward_sparsity}}) {
      detail::check_sparsity(field, *value);
    }
    if (options.backward_sparsity.number > options.forward_sparsity.number)
      throw InvalidField("backward_sparsity",
                         "must not be above forward_sparsity: the optimizer moves at "
                         "least the weights in use");
  }

  void attach(Binding& binding) override {
    plan_ = binding.plan(window(), options_.update_frequency);
    selected_ = binding.select(options_.params, options_.exclude);
    for (const auto& parameter : selected_) {
      binding.claim("the mask of " + parameter.name, plan_.start, plan_.end);
      binding.rely_on("what the optimizer sees of " + parameter.name, plan_.start, plan_.end);
    }
    binding.rely_on("the order of channels", plan_.start, plan_.end);
    const double sparsity = options_.forward_sparsity.number;
    binding.schedule({options_.global_sparsity ? "sparsity of all together" : "sparsity", plan_,
                      names_of(selected_), [sparsity](std::int64_t) { return sparsity; }});
  }

  void begin_step(State& state) override {
    if (state.step == plan_.start) note_odd_weights(state, selected_);
    if (plan_.updates_at(state.step)) {
      show();
      in_use_ = magnitude_masks(selected_, options_.forward_sparsity.number, options_.global_sparsity);
      moved_ = magnitude_masks(selected_, options_.backward_sparsity.number, options_.global_sparsity);
      hide();
    } else if (shown_) {
      hide();  // the step before did not come to its end
    }
    if (state.step != plan_.last()) return;
    // The last step trains with ordinary masks.
    for (std::size_t i = 0; i < selected_.size(); ++i) state.set_mask(selected_[i], in_use_[i]);
    in_use_.clear(), moved_.clear(), values_.clear();
  }

  void gradients(State&) override {
    if (in_use_.empty()) return;
    show();
    at::NoGradGuard no_grad;
    const double decay = options_.active_weight_decay, share = 1 - options_.forward_sparsity.number;
    for (std::size_t i = 0; i < selected_.size(); ++i) {
      if (!selected_[i].tensor.grad().defined()) continue;
      auto gradient = selected_[i].tensor.grad().detach();
      const auto weight = selected_[i].tensor.detach();
      gradient.add_(at::where(in_use_[i], weight * decay, weight * (decay / share)));
      apply_mask_(gradient, moved_[i]);
    }
  }

  void end_step(State& state) override {
    if (in_use_.empty()) return;
    // The optimizer's own momentum and weight decay must not move what has no gradient.
    at::NoGradGuard no_grad;
    for (std::size_t i = 0; i < selected_.size(); ++i) {
      auto weight = selected_[i].tensor.detach();
      weight.copy_(at::where(moved_[i], weight, values_[i]));
      state.optimizer_access.mask_state(selected_[i].tensor, moved_[i]);
    }
    hide();
  }

  void finish(State& state) override {
    if (state.step < plan_.end) throw Error("training stopped before end_epoch: the masks are not yet fixed");
    double zeros = 0, total = 0;
    for (const auto& parameter : selected_) {
      total += static_cast<double>(parameter.tensor.numel());
      zeros += static_cast<double>(count_zeros(parameter.tensor));
    }
    if (zeros < std::floor(options_.forward_sparsity.number * total) - static_cast<double>(selected_.size()))
      throw Error("the selected weights are less sparse than forward_sparsity at the end");
    note_emptied(state, selected_);
  }

  void save(StateDict& state) const override {
    for (std::size_t i = 0; i < in_use_.size(); ++i) {
      const auto& name = selected_[i].name;
      state["in_use." + name] = in_use_[i], state["moved." + name] = moved_[i];
      state["values." + name] = values_[i];
    }
  }
  void load(const StateDict& state) override {
    in_use_.clear(), moved_.clear(), values_.clear();
    for (const auto& parameter : selected_) {
      const auto saved = state.find("in_use." + parameter.name);
      if (saved == state.end()) return;  // before the first step, or after the last
      const auto device = parameter.tensor.device();
      in_use_.push_back(saved->second.to(device));
      moved_.push_back(state.at("moved." + parameter.name).to(device));
      values_.push_back(state.at("values." + parameter.name).to(device).clone());
    }
  }

 private:
  /// The model holds all weights again.
  void show() {
    if (shown_) return;
    at::NoGradGuard no_grad;
    for (std::size_t i = 0; i < in_use_.size(); ++i) {
      auto weight = selected_[i].tensor.detach();
      weight.copy_(at::where(in_use_[i], weight, values_[i]));
    }
    shown_ = true;
  }

  /// Keeps all weights aside, and leaves those in use in the model.
  void hide() {
    at::NoGradGuard no_grad;
    values_.resize(selected_.size());
    for (std::size_t i = 0; i < selected_.size(); ++i) {
      const auto weight = selected_[i].tensor.detach();
      if (values_[i].defined())
        values_[i].copy_(weight);
      else
        values_[i] = weight.clone();
      apply_mask_(weight, in_use_[i]);
    }
    shown_ = false;
  }

  Options options_;
  StepPlan plan_;
  Parameters selected_;
  // In the order of the selection: the masks of the forward pass and of the optimizer, the values of all
  // weights.
  std::vector<at::Tensor> in_use_, moved_, values_;
  bool shown_ = false;  // the model holds all weights
};

}  // namespace sparsify
