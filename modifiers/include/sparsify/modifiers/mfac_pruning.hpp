// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/linalg_cholesky.h>
#include <ATen/ops/linalg_solve.h>
#include <ATen/ops/linalg_solve_triangular.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/where.h>

#include <map>
#include <string>
#include <vector>

#include "sparsify/modifiers/second_order_pruning.hpp"

namespace sparsify {

/// M-FAC (Frantar et al. 2021, arXiv 2107.03356): the full Fisher matrix of each layer, F = damp I + G'G / m
/// with the last m gradients as rows of G, inverted through Woodbury's identity without ever being written
/// down. Memory: `num_grads` numbers for each selected weight.
class MFACPruning : public SecondOrderPruning {
 public:
  static constexpr const char* kName = "MFACPruningModifier";
  struct Options : SecondOrderOptions {
    Options() { global_sparsity = false, damp = 1e-5; }
  };
  explicit MFACPruning(const Options& options) : SecondOrderPruning(options) {}

  void save(StateDict& state) const override {
    SecondOrderPruning::save(state);
    for (const auto& [name, rows] : gradients_) state["gradients." + name] = at::stack(rows);
  }
  void load(const StateDict& state) override {
    SecondOrderPruning::load(state);
    gradients_.clear();
    for (const auto& parameter : selected())
      if (const auto rows = state.find("gradients." + parameter.name); rows != state.end())
        gradients_[parameter.name] = rows->second.to(parameter.tensor.device()).clone().unbind();
  }

 protected:
  void add_gradient(const Parameter& parameter, const at::Tensor& gradient) override {
    auto& rows = gradients_[parameter.name];
    if (static_cast<std::int64_t>(rows.size()) == num_grads()) rows.erase(rows.begin());
    rows.push_back(gradient.clone());
  }
  bool has_gradients(const Parameter& parameter) const override {
    return gradients_.count(parameter.name) > 0;
  }

  at::Tensor inverse_diagonal(const Parameter& parameter, const at::Tensor&) override {
    return diagonal_of(Inverse(gradients_.at(parameter.name), damp()));
  }

  // Each removed weight is made up for by itself, and all changes are summed, as in the paper.
  at::Tensor compensation(const Parameter& parameter, const at::Tensor& kept) override {
    const Inverse inverse(gradients_.at(parameter.name), damp());
    const auto weight = parameter.tensor.detach().to(at::kFloat).contiguous().reshape(-1);
    const auto removed = at::where(kept, 0.0F, weight / diagonal_of(inverse));
    return inverse.times(removed).neg() * kept;
  }

  // Gradients serve several updates; what is pruned now has none.
  void pruned(const State& state) override {
    for (auto& [name, rows] : gradients_)
      if (const auto mask = state.masks.find(name); mask.defined())
        for (auto& row : rows) row.mul_(mask.contiguous().reshape(-1));
  }

 private:
  /// F^-1 = (I - G' M^-1 G) / damp, where M = damp m I + G G'.
  struct Inverse {
    Inverse(const std::vector<at::Tensor>& rows, double damp) : damp(damp), g(at::stack(rows)) {
      const auto m = static_cast<double>(rows.size());
      const auto products = g.mm(g.t()).to(at::kDouble);
      const double rounding = 1e-6 * products.diagonal().mean().item<double>();  // of float sums
      middle = products + at::eye(g.size(0), products.options()) * (damp * m + rounding);
    }
    at::Tensor times(const at::Tensor& vector) const {
      const auto inner = at::linalg_solve(middle, g.mv(vector).to(at::kDouble)).to(at::kFloat);
      return (vector - g.t().mv(inner)) / damp;
    }
    double damp;
    at::Tensor g, middle;
  };

  static at::Tensor diagonal_of(const Inverse& inverse) {
    const auto root = at::linalg_cholesky(inverse.middle).to(at::kFloat);
    const auto whitened = at::linalg_solve_triangular(root, inverse.g, /*upper=*/false);
    // In exact arithmetic between 0 and 1.
    return (1 - whitened.square().sum(0)).clamp_min(1e-6) / inverse.damp;
  }

  std::map<std::string, std::vector<at::Tensor>> gradients_;
};

}  // namespace sparsify
