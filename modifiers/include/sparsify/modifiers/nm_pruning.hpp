// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/ops/scalar_tensor.h>

#include <optional>
#include <vector>

#include "sparsify/graph/channel_spaces.hpp"
#include "sparsify/masks/n_of_m_eligibility.hpp"
#include "sparsify/odd_weights.hpp"
#include "sparsify/permute_for_n_of_m.hpp"
#include "sparsify/registry.hpp"

namespace sparsify {

/// One-shot N:M pruning by magnitude along input channels (2:4: arXiv 2104.08378): masks are made once, at
/// `start_epoch`, and stay. Layers that the target's sparse kernels cannot use are left dense, and noted with
/// the reason.
///
/// With `permute`, channels first change places so that masks keep more (Pool and Yu 2021, "Channel
/// Permutations for N:M Sparsity"). How channels are connected is seen in the forward pass of the step at
/// `start_epoch`, so that masks are made at its end; one step later where that pass is quantization's to
/// record. A tensor that the pass stores elsewhere, and does not return, may come out in another order.
class NMPruning : public Modifier {
 public:
  static constexpr const char* kName = "NMPruningModifier";
  struct Options {
    double start_epoch = 0;
    std::string mask_type = "2:4";
    std::vector<std::string> params = {"__ALL_PRUNABLE__"};
    NofMEligibility eligible{};
    std::vector<std::string> exclude{};
    bool permute = false;
    template <class Visitor>
    void fields(Visitor& visit) {
      visit("start_epoch", start_epoch,
            "epoch at which the masks are made; usually when the dense model has converged; -1: from the "
            "beginning",
            epoch_or_minus_one());
      visit("mask_type", mask_type, "N:M, such as 2:4");
      visit_selection(visit, params, exclude);
      eligible.fields(visit);
      visit(
          "permute", permute,
          "first put channels into an order in which more magnitude is kept, in all layers they go through; "
          "the network computes the same. Averaged copies of the weights must start anew");
    }
  };
  explicit NMPruning(const Options& options)
      : Modifier({options.start_epoch, -1}), options_(options), pattern_(parse_n_of_m(options.mask_type)) {
    check(window());
  }

  void attach(Binding& binding) override {
    plan_ = binding.plan(window());
    for (auto& parameter : binding.select(options_.params, options_.exclude)) {
      const auto reason = options_.eligible.why_not(parameter, pattern_);
      if (!reason.empty()) {
        binding.state().notes.push_back(options_.mask_type + ": " + parameter.name +
                                        " stays dense: " + reason);
        continue;
      }
      binding.claim("the mask of " + parameter.name, plan_.start, plan_.end);
      selected_.push_back(std::move(parameter));
    }
    if (options_.permute) {
      binding.claim("the order of channels", plan_.start, plan_.start + 2);
      binding.claim("what operators see", plan_.start, plan_.start + 1);
    }
    if (selected_.empty())
      throw InvalidField("params", "no selected weight can be pruned " + options_.mask_type +
                                       "; see min_channels and exclude_grouped");
    auto once = plan_;
    once.every = 1e15;  // steps: there is one update
    binding.schedule(
        {"sparsity", once, names_of(selected_), [this](std::int64_t) { return pattern_.sparsity(); }});
  }

  void begin_step(State& state) override {
    if (state.step == plan_.start && !options_.permute) make_masks(state);
  }

  void forward(State& state, const std::function<void()>& run) override {
    if (!is_permuting(state) || !state.training || spaces_) return run();
    spaces_ = record_channel_spaces(state.parameters, state.buffers, state.results, run);
  }

  void end_step(State& state) override {
    if (!is_permuting(state)) return;
    if (!spaces_ && state.step > plan_.start)
      throw Error(
          "permute: no forward pass could be recorded; it must run inside step.forward, and before "
          "quantization begins");
    if (!spaces_) return;
    const auto gain = permute_for_n_of_m(state, *spaces_, selected_, pattern_, kSearchWork);
    state.notes.push_back(options_.mask_type + ": " + gain.text());
    make_masks(state);
    is_permuted_ = true;
    spaces_.reset();
  }

  void save(StateDict& state) const override {
    if (is_permuted_) state["is_permuted"] = at::scalar_tensor(true, at::kBool);
  }
  void load(const StateDict& state) override { is_permuted_ = state.count("is_permuted") > 0; }

  void finish(State& state) override {
    if (state.step <= plan_.start || is_permuting(state))
      throw Error("training stopped before start_epoch: nothing was pruned");
    for (const auto& parameter : selected_)
      if (!obeys(parameter.tensor, pattern_))
        throw Error(parameter.name + " is not " + options_.mask_type + " at the end");
  }

 private:
  static constexpr double kSearchWork = 2e11;  // some 40 seconds of one core

  bool is_permuting(const State& state) const {
    return options_.permute && !is_permuted_ && state.step >= plan_.start;
  }

  void make_masks(State& state) const {
    note_odd_weights(state, selected_);
    for (const auto& parameter : selected_)
      state.set_mask(parameter, n_of_m_mask(parameter.tensor, pattern_));
  }

  Options options_;
  NofM pattern_;
  StepPlan plan_;
  Parameters selected_;
  bool is_permuted_ = false;
  std::optional<std::vector<ChannelSpace>> spaces_;
};

}  // namespace sparsify
