// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/diag_embed.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/linalg_inv.h>
#include <ATen/ops/linalg_solve.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include <cmath>
#include <map>
#include <string>
#include <utility>

#include "sparsify/modifiers/second_order_pruning.hpp"

namespace sparsify {

/// The Optimal Brain Surgeon with a block-diagonal Fisher matrix (oBERT, Kurtic et al. 2022, arXiv
/// 2203.07259). Within a block all weights removed at once are made up for exactly. Memory:
/// `fisher_block_size` numbers for each selected weight.
class OBSPruning : public SecondOrderPruning {
 public:
  static constexpr const char* kName = "OBSPruningModifier";
  struct Options : SecondOrderOptions {
    std::int64_t fisher_block_size = 50;
    template <class Visitor>
    void fields(Visitor& visit) {
      SecondOrderOptions::fields(visit);
      visit("fisher_block_size", fisher_block_size,
            "consecutive weights whose common curvature is known; 1: each by itself",
            at_least(1).up_to(4096));
    }
  };
  explicit OBSPruning(const Options& options)
      : SecondOrderPruning(options), block_(options.fisher_block_size) {}

  void attach(Binding& binding) override {
    SecondOrderPruning::attach(binding);
    if (plan().every < static_cast<double>(num_grads()) && plan().end - plan().start > 1)
      binding.state().notes.push_back("OBS: updates are " + std::to_string(std::llround(plan().every)) +
                                      " steps apart: so many gradients are used for each, not num_grads, " +
                                      std::to_string(num_grads()));
  }

  void save(StateDict& state) const override {
    SecondOrderPruning::save(state);
    for (const auto& [name, fisher] : fishers_) {
      state["fisher." + name] = fisher.sum;
      state["gradients." + name] = at::scalar_tensor(fisher.gradients, at::kLong);
    }
  }
  void load(const StateDict& state) override {
    SecondOrderPruning::load(state);
    fishers_.clear();
    for (const auto& parameter : selected())
      if (const auto sum = state.find("fisher." + parameter.name); sum != state.end())
        fishers_[parameter.name] = {sum->second.to(parameter.tensor.device()).clone(),
                                    state.at("gradients." + parameter.name).item<std::int64_t>()};
  }

 protected:
  void add_gradient(const Parameter& parameter, const at::Tensor& gradient) override {
    auto& fisher = fishers_[parameter.name];
    const auto blocks = in_blocks(gradient);
    if (fisher.gradients++ == 0) fisher.sum = at::zeros({blocks.size(0), block_, block_}, gradient.options());
    fisher.sum.baddbmm_(blocks.unsqueeze(2), blocks.unsqueeze(1));
  }
  bool has_gradients(const Parameter& parameter) const override { return fishers_.count(parameter.name) > 0; }

  at::Tensor inverse_diagonal(const Parameter& parameter, const at::Tensor& mask) override {
    auto matrix = damped(parameter);
    if (mask.defined()) matrix = restricted(matrix, in_blocks(mask.contiguous().reshape(-1).to(at::kFloat)));
    // Never below the inverse of the diagonal, whatever rounding makes of a matrix that is nearly singular.
    const auto diagonal =
        at::maximum(at::linalg_inv(matrix).diagonal(0, 1, 2), matrix.diagonal(0, 1, 2).reciprocal());
    return diagonal.reshape(-1).slice(0, 0, parameter.tensor.numel());
  }

  // The survivors s minimise the quadratic form while the removed q go to zero: F_ss change_s = F_sq w_q.
  at::Tensor compensation(const Parameter& parameter, const at::Tensor& kept) override {
    const auto keep = in_blocks(kept.to(at::kFloat));
    const auto weight = in_blocks(parameter.tensor.detach().to(at::kFloat).contiguous().reshape(-1));
    const auto matrix = damped(parameter);
    const auto removed = at::where(keep > 0, 0.0F, weight);  // a product would spread what is not finite
    const auto right = matrix.bmm(removed.unsqueeze(2)).squeeze(2) * keep;
    const auto change = at::linalg_solve(restricted(matrix, keep), right.unsqueeze(2)).squeeze(2) * keep;
    return change.reshape(-1).slice(0, 0, parameter.tensor.numel());
  }

  void pruned(const State&) override { fishers_.clear(); }

 private:
  struct Fisher {
    at::Tensor sum;
    std::int64_t gradients = 0;
  };

  at::Tensor in_blocks(const at::Tensor& flat) const {
    const auto missing = (block_ - flat.numel() % block_) % block_;
    return at::constant_pad_nd(flat, {0, missing}).reshape({-1, block_});
  }
  at::Tensor damped(const Parameter& parameter) const {
    const auto& fisher = fishers_.at(parameter.name);
    return fisher.sum / static_cast<double>(fisher.gradients) +
           at::eye(block_, fisher.sum.options()) * damp();
  }
  /// The matrix with rows and columns of what is not kept replaced by those of the identity.
  static at::Tensor restricted(const at::Tensor& matrix, const at::Tensor& keep) {
    return matrix * keep.unsqueeze(1) * keep.unsqueeze(2) + at::diag_embed(1 - keep);
  }

  std::int64_t block_;
  std::map<std::string, Fisher> fishers_;
};

}  // namespace sparsify
