// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/ops/nan_to_num.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>

#include <cmath>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "sparsify/masks/erdos_renyi.hpp"
#include "sparsify/masks/smallest.hpp"
#include "sparsify/modifiers/gradual_pruning.hpp"
#include "sparsify/odd_weights.hpp"
#include "sparsify/registry.hpp"

namespace sparsify {

/// RigL (Evci et al. 2020, arXiv 1911.11134): sparse from `start_epoch` to the end; at every update a share
/// of the remaining weights, those of smallest magnitude, make way for as many pruned ones with the largest
/// gradients, which begin at zero. The share falls to zero along half a cosine.
class RigLPruning : public Modifier {
 public:
  static constexpr const char* kName = "RigLPruningModifier";
  struct Options {
    Window window{0, -1};
    double update_frequency = 0.1;
    Value final_sparsity{};
    std::vector<std::string> params = {"__ALL_PRUNABLE__"};
    std::string sparsity_strategy = "erdos_renyi_kernel";
    double init_update_fraction = 0.3;
    std::int64_t num_grads = 1;
    bool momentum_buffer_reset = true;
    bool leave_enabled = true;
    std::vector<std::string> exclude{};
    template <class Visitor>
    void fields(Visitor& visit) {
      window.bounded_fields(visit);
      visit("update_frequency", update_frequency, "epochs between mask updates; -1: every step",
            update_frequencies());
      visit("final_sparsity", final_sparsity, "fraction of all selected weights removed",
            fraction().required());
      visit_selection(visit, params, exclude);
      visit("sparsity_strategy", sparsity_strategy, "how it is spread over layers", one_of(strategies()));
      visit("init_update_fraction", init_update_fraction,
            "share of the remaining weights that an update replaces at first", above(0).up_to(1));
      visit("num_grads", num_grads, "steps before an update whose gradients are averaged", at_least(1));
      visit("momentum_buffer_reset", momentum_buffer_reset, "weights that come back do so without momentum");
      visit("leave_enabled", leave_enabled, "keep masks in force after end_epoch");
    }
  };
  explicit RigLPruning(const Options& options)
      : Modifier(options.window),
        options_(options),
        spread_(choose("sparsity_strategy", options.sparsity_strategy, strategies())) {
    check(options.window, true);
    detail::check_sparsity("final_sparsity", options.final_sparsity);
  }

  void attach(Binding& binding) override {
    plan_ = binding.plan(window(), options_.update_frequency);
    selected_ = binding.select(options_.params, options_.exclude);
    sparsity_ = spread_sparsity(spread_, tensors_of(selected_), options_.final_sparsity.number);
    binding.rely_on("the order of channels", plan_.start, plan_.end);
    for (std::size_t i = 0; i < selected_.size(); ++i) {
      binding.claim("the mask of " + selected_[i].name, plan_.start, plan_.end);
      binding.rely_on("what the optimizer sees of " + selected_[i].name, plan_.start, plan_.end);
      const double sparsity = sparsity_[i];
      binding.schedule(
          {"sparsity", plan_, {selected_[i].name}, [sparsity](std::int64_t) { return sparsity; }});
    }
  }

  void begin_step(State& state) override {
    if (state.step != plan_.start) return;
    note_odd_weights(state, selected_);
    for (std::size_t i = 0; i < selected_.size(); ++i)
      set(state, i, smallest_magnitude_masks({{selected_[i].tensor}}, {pruned(i)}).front().front());
  }

  void release(State& state) override {
    if (state.step == plan_.end && !options_.leave_enabled)
      for (const auto& parameter : selected_) state.masks.remove(parameter.name);
  }

  void gradients(State& state) override {
    if (!plan_.contains(state.step)) return;
    // The first step only makes masks; its gradient belongs to no update.
    const std::int64_t passed_over = state.step == plan_.start ? 1 : 0;
    const bool updates = plan_.updates_at(state.step) && passed_over == 0;
    const bool counts = plan_.updates_within(state.step + passed_over, options_.num_grads - passed_over);
    for (std::size_t i = 0; i < selected_.size(); ++i) {
      const auto& gradient = selected_[i].tensor.grad();
      if (gradient.defined() && counts) collect(selected_[i], gradient.detach());
      if (updates && sums_.count(selected_[i].name)) replace(state, i);
    }
    if (updates) sums_.clear();
  }

  void finish(State& state) override {
    if (state.step <= plan_.start) throw Error("training stopped before start_epoch: nothing was pruned");
    if (!options_.leave_enabled) return;
    for (std::size_t i = 0; i < selected_.size(); ++i) {
      if (count_zeros(selected_[i].tensor) < pruned(i))
        throw Error(selected_[i].name + " is less sparse than its mask at the end");
    }
    note_emptied(state, selected_);
  }

  void save(StateDict& state) const override {
    for (const auto& [name, sum] : sums_) state["gradients." + name] = sum;
  }
  void load(const StateDict& state) override {
    sums_.clear();
    for (const auto& parameter : selected_) {
      const auto sum = state.find("gradients." + parameter.name);
      if (sum != state.end()) sums_[parameter.name] = sum->second.to(parameter.tensor.device()).clone();
    }
  }

 private:
  static const Choices<Spread>& strategies() {
    static const Choices<Spread> choices = {{"erdos_renyi_kernel", Spread::kErdosRenyiKernel},
                                            {"erdos_renyi", Spread::kErdosRenyi},
                                            {"uniform", Spread::kUniform}};
    return choices;
  }

  std::int64_t pruned(std::size_t i) const {
    return std::llround(sparsity_[i] * static_cast<double>(selected_[i].tensor.numel()));
  }

  void collect(const Parameter& parameter, const at::Tensor& gradient) {
    const auto [entry, is_new] = sums_.try_emplace(parameter.name);
    if (is_new) entry->second = at::zeros_like(parameter.tensor.detach(), at::kFloat);
    entry->second.add_(gradient);
  }

  void replace(State& state, std::size_t i) {
    at::NoGradGuard no_grad;
    const auto& parameter = selected_[i];
    const auto weight = parameter.tensor.detach();
    const auto mask = state.masks.find(parameter.name);
    const auto kept = weight.numel() - pruned(i);
    const double progress = plan_.progress(state.step);
    const double share = options_.init_update_fraction / 2 * (1 + std::cos(progress * 3.14159265358979));
    const auto replaced =
        std::min(std::llround(share * static_cast<double>(kept)), static_cast<long long>(pruned(i)));
    if (!mask.defined() || replaced == 0) return;
    // What is pruned already goes first whatever it weighs, what stays can not be chosen to come back.
    const auto out_of_play = -std::numeric_limits<float>::infinity(), untouchable = -out_of_play;
    const auto magnitude = at::where(mask, weight.abs(), out_of_play);
    const auto remaining = smallest_value_masks({{magnitude}}, {pruned(i) + replaced}).front().front();
    const auto worth = at::where(remaining, untouchable, at::nan_to_num(sums_.at(parameter.name).abs()));
    const auto grown = smallest_value_masks({{worth}}, {pruned(i)}).front().front();
    weight.masked_fill_(mask.logical_not(), 0);
    set(state, i, grown, options_.momentum_buffer_reset ? remaining : grown);
  }

  void set(State& state, std::size_t i, const at::Tensor& mask) { set(state, i, mask, mask); }
  void set(State& state, std::size_t i, const at::Tensor& mask, const at::Tensor& with_momentum) {
    state.masks.set(selected_[i], mask);
    state.optimizer_access.mask_state(selected_[i].tensor, with_momentum);
  }

  Options options_;
  Spread spread_;
  StepPlan plan_;
  Parameters selected_;
  std::vector<double> sparsity_;
  std::map<std::string, at::Tensor> sums_;
};

}  // namespace sparsify
