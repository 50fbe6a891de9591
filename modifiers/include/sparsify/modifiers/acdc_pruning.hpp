// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "sparsify/masks/magnitude_masks.hpp"
#include "sparsify/modifiers/gradual_pruning.hpp"
#include "sparsify/odd_weights.hpp"
#include "sparsify/registry.hpp"

namespace sparsify {

/// Alternating compressed and decompressed training (Peste et al. 2021, arXiv 2106.12379): phases with masks
/// of the full sparsity alternate with dense ones, in which weights may come back. The first phase is dense,
/// the last one is compressed and its masks stay.
class ACDCPruning : public Modifier {
 public:
  static constexpr const char* kName = "ACDCPruningModifier";
  struct Options {
    Window window{0, -1};
    double update_frequency = 1;
    Value compression_sparsity{};
    std::vector<std::string> params = {"__ALL_PRUNABLE__"};
    bool global_sparsity = true;
    bool momentum_buffer_reset = true;
    bool leave_enabled = true;
    Value mask_type = "unstructured";
    std::vector<std::string> exclude{};
    template <class Visitor>
    void fields(Visitor& visit) {
      window.bounded_fields(visit);
      visit("update_frequency", update_frequency, "epochs that a phase lasts", above(0));
      visit("compression_sparsity", compression_sparsity, "fraction of weights removed in compressed phases",
            fraction().required());
      visit_selection(visit, params, exclude);
      visit("global_sparsity", global_sparsity, "one threshold over all selected weights, not one for each");
      visit("momentum_buffer_reset", momentum_buffer_reset, "forget momentum when a dense phase begins");
      visit("mask_type", mask_type, kMaskTypes);
      visit("leave_enabled", leave_enabled, "keep masks in force after end_epoch");
    }
  };
  explicit ACDCPruning(const Options& options)
      : Modifier(options.window), options_(options), mask_type_(MaskType::parse(options.mask_type)) {
    check(options.window, true);
    detail::check_sparsity("compression_sparsity", options.compression_sparsity);
    if (mask_type_.kind == MaskType::Kind::kNofM)
      throw InvalidField("mask_type", "there is no N:M form of alternating phases; use NMPruningModifier");
  }

  void attach(Binding& binding) override {
    plan_ = binding.plan(window(), options_.update_frequency);
    phases_ = count_phases();
    if (phases_ < 2)
      throw InvalidField("update_frequency", "the window has room for one phase only; expected two or more");
    selected_ = binding.select(options_.params, options_.exclude);
    if (options_.global_sparsity && selected_.size() > 1) mask_type_.check_can_compete();
    for (const auto& parameter : selected_)
      binding.claim("the mask of " + parameter.name, plan_.start, plan_.end);
    binding.schedule({options_.global_sparsity ? "sparsity of all together" : "sparsity", plan_,
                      names_of(selected_), [this](std::int64_t step) {
                        return compressed(phase_at(step)) ? options_.compression_sparsity.number : 0.0;
                      }});
  }

  void release(State& state) override {
    if (state.step == plan_.end && !options_.leave_enabled)
      for (const auto& parameter : selected_) state.masks.remove(parameter.name);
  }

  void begin_step(State& state) override {
    if (!plan_.contains(state.step)) return;
    if (state.step == plan_.start) note_odd_weights(state, selected_, mask_type_);
    const auto phase = phase_at(state.step);
    if (state.step != first_step(phase)) return;
    compressed(phase) ? compress(state) : decompress(state);
  }

  void finish(State& state) override {
    if (state.step < plan_.end)
      throw Error("training stopped before end_epoch, in phase " + std::to_string(phase_at(state.step) + 1) +
                  " of " + std::to_string(phases_));
    if (!options_.leave_enabled) return;
    const double sparsity = options_.compression_sparsity.number;
    if (options_.global_sparsity)
      detail::check_sparsity_holds(state, selected_, mask_type_, sparsity);
    else
      for (const auto& parameter : selected_)
        detail::check_sparsity_holds(state, {parameter}, mask_type_, sparsity);
    note_emptied(state, selected_);
  }

 private:
  // In epochs: rounded to steps, a window of five phases may be some steps longer than five. A phase without
  // a step is none.
  std::int64_t count_phases() const {
    const double epochs = options_.window.end_epoch - std::max(0.0, options_.window.start_epoch);
    const double steps = static_cast<double>(plan_.end - plan_.start);
    auto phases =
        static_cast<std::int64_t>(std::min(steps, std::ceil(epochs / options_.update_frequency - 1e-9)));
    while (phases > 1 && first_step(phases - 1) >= plan_.end) --phases;
    return phases;
  }
  std::int64_t first_step(std::int64_t phase) const {
    return plan_.start + std::llround(static_cast<double>(phase) * plan_.every);
  }
  std::int64_t phase_at(std::int64_t step) const {
    std::int64_t phase = 0;
    while (phase + 1 < phases_ && first_step(phase + 1) <= step) ++phase;
    return phase;
  }
  bool compressed(std::int64_t phase) const { return phase % 2 == 1 || phase == phases_ - 1; }

  void compress(State& state) {
    const auto masks = magnitude_masks(selected_, options_.compression_sparsity.number,
                                       options_.global_sparsity, mask_type_);
    for (std::size_t i = 0; i < masks.size(); ++i) state.set_mask(selected_[i], masks[i]);
  }

  void decompress(State& state) {
    for (const auto& parameter : selected_) {
      state.masks.remove(parameter.name);
      if (options_.momentum_buffer_reset)
        state.optimizer_access.mask_state(parameter.tensor, at::zeros_like(parameter.tensor, at::kBool));
    }
  }

  Options options_;
  MaskType mask_type_;
  StepPlan plan_;
  std::int64_t phases_ = 0;
  Parameters selected_;
};

}  // namespace sparsify
