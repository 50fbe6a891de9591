// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/ops/where.h>

#include <algorithm>
#include <string>
#include <vector>

#include "sparsify/modifiers/gradual_pruning.hpp"

namespace sparsify {

/// Options of modifiers that estimate how the loss curves.
struct SecondOrderOptions : GradualPruningOptions {
  bool global_sparsity = true;
  std::int64_t num_grads = 64;
  double damp = 1e-7;

  template <class Visitor>
  void fields(Visitor& visit) {
    GradualPruningOptions::fields(visit);
    visit("global_sparsity", global_sparsity, "one threshold over all selected weights, not one for each");
    visit("num_grads", num_grads, "training steps before an update whose gradients are used", at_least(1));
    visit("damp", damp, "added to the diagonal of the Fisher matrix", above(0));
  }
};

/// Gradual pruning by the empirical Fisher matrix F of the training steps before each update: weights go
/// whose removal raises the loss least by its second-order estimate, w^2 / (2 [F^-1]_ii), and the others move
/// to make up for them. Before the first gradient it prunes by magnitude.
class SecondOrderPruning : public GradualPruning {
 public:
  using Options = SecondOrderOptions;
  explicit SecondOrderPruning(const Options& options) : GradualPruning(options), options_(options) {}

  void attach(Binding& binding) override {
    GradualPruning::attach(binding);
    rely_on_gradients(binding, std::max<std::int64_t>(0, plan().start - options_.num_grads));
  }

  void gradients(State& state) override {
    if (!plan().updates_within(state.step + 1, options_.num_grads)) return;
    at::NoGradGuard no_grad;
    for (const auto& parameter : selected()) {
      if (!parameter.tensor.grad().defined()) continue;
      const auto mask = state.masks.find(parameter.name);
      auto gradient = parameter.tensor.grad().detach().to(at::kFloat);
      if (mask.defined()) gradient = gradient * mask;
      add_gradient(parameter, gradient.contiguous().reshape(-1));
    }
  }

 protected:
  /// Takes in one gradient of a parameter, flat, zero where it is pruned.
  virtual void add_gradient(const Parameter& parameter, const at::Tensor& gradient) = 0;
  virtual bool has_gradients(const Parameter& parameter) const = 0;
  /// The diagonal of F^-1, flat, of the weights that `mask` keeps (undefined: of all).
  virtual at::Tensor inverse_diagonal(const Parameter& parameter, const at::Tensor& mask) = 0;
  /// What to add to the weights, flat, when those outside `kept` are removed.
  virtual at::Tensor compensation(const Parameter& parameter, const at::Tensor& kept) = 0;
  /// After weights were removed.
  virtual void pruned(const State& state) = 0;

  double damp() const { return options_.damp; }
  std::int64_t num_grads() const { return options_.num_grads; }

  std::vector<Parameters> competing_sets(const Parameters& parameters) const override {
    return options_.global_sparsity ? std::vector<Parameters>{parameters} : one_set_each(parameters);
  }
  const char* scope() const override {
    return options_.global_sparsity ? "sparsity of all together" : "sparsity";
  }

  at::Tensor scores(const State& state, const Parameter& parameter) override {
    const auto weight = parameter.tensor.detach().to(at::kFloat);
    // Without gradients F is `damp` times the identity, for this parameter too if it competes with others.
    if (!has_gradients(parameter)) return weight.square() * (damp() / 2);
    const auto diagonal = inverse_diagonal(parameter, state.masks.find(parameter.name));
    return weight.square() / (2 * diagonal.reshape(weight.sizes()));
  }

  void prune(State& state, const Parameter& parameter, const at::Tensor& mask) override {
    at::NoGradGuard no_grad;
    if (has_gradients(parameter)) {
      const auto change = compensation(parameter, mask.contiguous().reshape(-1));
      parameter.tensor.detach().add_(change.reshape(parameter.tensor.sizes()));
    }
    GradualPruning::prune(state, parameter, mask);
  }

  void updated(State& state) override { pruned(state); }

 private:
  SecondOrderOptions options_;
};

}  // namespace sparsify
