// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>

#include <limits>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "sparsify/modifiers/gradual_pruning.hpp"

namespace sparsify {

/// Movement pruning (Sanh et al. 2020, arXiv 2005.07683): weights that training moves towards zero go. The
/// score of a weight is the sum of -gradient * weight since the window began; the gradient is that of the
/// weight as the forward pass used it, so pruned weights are scored too, by the value they had, and may come
/// back with it. Before the first gradient it prunes by magnitude.
class MovementPruning : public GradualPruning {
 public:
  static constexpr const char* kName = "MovementPruningModifier";
  using GradualPruning::GradualPruning;

  void attach(Binding& binding) override {
    GradualPruning::attach(binding);
    rely_on_gradients(binding, plan().start);
  }

  void begin_step(State& state) override {
    if (plan().contains(state.step) && values_.empty())
      for (const auto& parameter : selected()) values_[parameter.name] = parameter.tensor.detach().clone();
    GradualPruning::begin_step(state);
  }

  void gradients(State& state) override {
    if (!plan().contains(state.step)) return;
    at::NoGradGuard no_grad;
    for (const auto& parameter : selected()) {
      const auto& gradient = parameter.tensor.grad();
      if (!gradient.defined()) continue;
      auto& moved = moved_[parameter.name];
      if (!moved.defined()) moved = at::zeros_like(parameter.tensor.detach(), at::kFloat);
      moved.sub_(gradient.detach() * value_of(state, parameter));
    }
  }

  void save(StateDict& state) const override {
    GradualPruning::save(state);
    for (const auto& [name, score] : moved_) state["moved." + name] = score;
    for (const auto& [name, value] : values_) state["values." + name] = value;
  }
  void load(const StateDict& state) override {
    GradualPruning::load(state);
    moved_.clear(), values_.clear();
    for (const auto& parameter : selected())
      for (const auto& [key, tensors] : {std::pair{"moved.", &moved_}, std::pair{"values.", &values_}})
        if (const auto saved = state.find(key + parameter.name); saved != state.end())
          (*tensors)[parameter.name] = saved->second.to(parameter.tensor.device()).clone();
  }

 protected:
  std::vector<Parameters> competing_sets(const Parameters& parameters) const override {
    return one_set_each(parameters);
  }
  // What is not finite counts as the largest, as with other methods.
  at::Tensor scores(const State&, const Parameter& parameter) override {
    const auto moved = moved_.find(parameter.name);
    const auto score = moved == moved_.end() ? parameter.tensor.detach().abs().to(at::kFloat) : moved->second;
    return at::where(at::isfinite(score), score, std::numeric_limits<float>::infinity());
  }
  bool signed_scores() const override { return true; }

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
};

}  // namespace sparsify
