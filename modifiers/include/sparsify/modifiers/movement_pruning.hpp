// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>

#include <map>
#include <string>
#include <vector>

#include "sparsify/modifiers/gradual_pruning.hpp"

namespace sparsify {

/// Movement pruning (Sanh et al. 2020, arXiv 2005.07683): weights that training moves towards zero go. The
/// score of a weight is the sum of -gradient * weight since the window began; the gradient is that of the
/// weight as the forward pass used it, so pruned weights are scored too, by the value they had, and may come
/// back with it.
class MovementPruning : public GradualPruning {
 public:
  static constexpr const char* kName = "MovementPruningModifier";
  using GradualPruning::GradualPruning;

  void attach(Binding& binding) override {
    GradualPruning::attach(binding);
    rely_on_gradients(binding, plan().start);
  }

  void begin_step(State& state) override {
    if (plan().contains(state.step) && moved_.empty())
      for (const auto& parameter : selected()) {
        moved_[parameter.name] = at::zeros_like(parameter.tensor.detach(), at::kFloat);
        values_[parameter.name] = parameter.tensor.detach().clone();
      }
    GradualPruning::begin_step(state);
  }

  void gradients(State& state) override {
    if (!plan().contains(state.step)) return;
    at::NoGradGuard no_grad;
    for (const auto& parameter : selected()) {
      const auto& gradient = parameter.tensor.grad();
      if (!gradient.defined()) continue;
      moved_.at(parameter.name).sub_(gradient.detach() * value_of(state, parameter));
      scored_ = true;
    }
  }

  void save(StateDict& state) const override {
    GradualPruning::save(state);
    for (const auto& [name, score] : moved_) state["moved." + name] = score;
    for (const auto& [name, value] : values_) state["values." + name] = value;
  }
  void load(const StateDict& state) override {
    GradualPruning::load(state);
    moved_.clear(), values_.clear(), scored_ = false;
    for (const auto& parameter : selected()) {
      const auto score = state.find("moved." + parameter.name),
                 value = state.find("values." + parameter.name);
      if (score == state.end() || value == state.end()) continue;
      moved_[parameter.name] = score->second.to(parameter.tensor.device()).clone();
      values_[parameter.name] = value->second.to(parameter.tensor.device()).clone();
      scored_ = scored_ || moved_[parameter.name].count_nonzero().item<std::int64_t>() > 0;
    }
  }

 protected:
  std::vector<Parameters> competing_sets(const Parameters& parameters) const override {
    return one_set_each(parameters);
  }
  // What is not finite counts as the largest, as with other methods.
  at::Tensor scores(const State&, const Parameter& parameter) override {
    const auto& moved = moved_.at(parameter.name);
    return at::where(at::isfinite(moved), moved, std::numeric_limits<float>::infinity());
  }
  bool signed_scores() const override { return true; }
  bool ready() const override { return scored_; }

  void prune(State& state, const Parameter& parameter, const at::Tensor& mask) override {
    at::NoGradGuard no_grad;
    auto& value = values_.at(parameter.name);
    value = value_of(state, parameter).clone();
    parameter.tensor.detach().copy_(value);
    GradualPruning::prune(state, parameter, mask);
  }

 private:
  /// The weight where it is kept, and what it was when it was pruned elsewhere.
  at::Tensor value_of(const State& state, const Parameter& parameter) const {
    const auto weight = parameter.tensor.detach();
    const auto mask = state.masks.find(parameter.name);
    return mask.defined() ? at::where(mask, weight, values_.at(parameter.name)) : weight;
  }

  std::map<std::string, at::Tensor> moved_, values_;
  bool scored_ = false;
};

}  // namespace sparsify
