// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/ops/ones_like.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "sparsify/channel_sets.hpp"
#include "sparsify/graph/channel_spaces.hpp"
#include "sparsify/interpolate.hpp"
#include "sparsify/modifiers/gradual_pruning.hpp"
#include "sparsify/odd_weights.hpp"
#include "sparsify/registry.hpp"

namespace sparsify {

/// Prunes whole channels, gradually: the smallest by L2 norm go, together in all layers that data flow ties
/// to each other (residual connections, gates, depthwise convolutions). `filter` removes what makes a
/// channel: filters, their biases, and batch norm's weight and bias, so that nothing comes out of it.
/// `channel` removes the weights that read it. The first training pass of the session shows how channels are
/// connected; if masks are due in that same step, they are made at its end. Channels whose way is not known
/// stay, with a note, and so do those on both sides of a grouped convolution, whose groups must remain alike.
class StructuredPruning : public Modifier {
 public:
  static constexpr const char* kName = "StructuredPruningModifier";
  struct Options {
    Window window{0, -1};
    double update_frequency = -1;
    Value init_sparsity = 0.05;
    Value final_sparsity{};
    std::vector<std::string> params = {"__ALL_PRUNABLE__"};
    std::string inter_func = "cubic";
    std::string mask_type = "filter";
    bool leave_enabled = true;
    std::vector<std::string> exclude{};

    template <class Visitor>
    void fields(Visitor& visit) {
      window.bounded_fields(visit);
      visit("update_frequency", update_frequency, "epochs between mask updates; -1: every step",
            update_frequencies());
      visit("init_sparsity", init_sparsity, "fraction of channels removed at start_epoch", fraction());
      visit("final_sparsity", final_sparsity, "fraction of channels removed at the end",
            fraction().required());
      visit_selection(visit, params, exclude);
      visit("inter_func", inter_func, "how sparsity grows", one_of(interpolations()));
      visit(
          "mask_type", mask_type,
          "filter: what makes the channels of the selected weights; channel: what the selected weights read",
          one_of({"filter", "channel"}));
      visit("leave_enabled", leave_enabled, "keep masks in force after end_epoch");
    }
  };

  explicit StructuredPruning(const Options& options)
      : Modifier(options.window),
        options_(options),
        interpolation_(choose("inter_func", options.inter_func, interpolations())) {
    check(options.window, true);
    detail::check_sparsity("init_sparsity", options.init_sparsity);
    detail::check_sparsity("final_sparsity", options.final_sparsity);
  }

  void attach(Binding& binding) override {
    plan_ = binding.plan(window(), options_.update_frequency);
    selected_ = names_of(binding.select(options_.params, options_.exclude));
    for (const auto& name : selected_) binding.claim("the mask of " + name, plan_.start, plan_.end);
    binding.schedule({options_.mask_type + " sparsity", plan_, selected_,
                      [this](std::int64_t step) { return target(step); }});
  }

  void begin_step(State& state) override {
    is_due_ = is_due_ || plan_.updates_at(state.step);
    if (is_due_ && is_planned()) update(state);
  }

  void release(State& state) override {
    if (state.step == plan_.end && !options_.leave_enabled)
      for (const auto& set : sets_)
        for (const auto& member : set.masked) state.masks.remove(member.name);
  }

  void forward(State& state, const std::function<void()>& run) override {
    if (is_planned() || !state.training) return run();
    if (const auto spaces = record_channel_spaces(state.parameters, state.buffers, state.results, run))
      plan_sets(state, *spaces);
  }

  void end_step(State& state) override {
    if (is_due_ && is_planned()) update(state);
  }

  void finish(State& state) override {
    if (!is_planned())
      throw Error(
          "no forward pass could be recorded; it must run inside step.forward, and before quantization "
          "begins");
    detail::check_reached_end(state, plan_, window());
    if (!options_.leave_enabled) return;
    for (const auto& set : sets_) verify(state, set);
  }

  void save(StateDict& state) const override {
    if (is_planned()) state["sets"] = to_bytes(sets_);
  }
  void load(const StateDict& state) override {
    const auto found = state.find("sets");
    sets_ = found == state.end() ? std::vector<ChannelSet>() : from_bytes(found->second);
  }

  /// The channels that go together; empty before the first training pass.
  const std::vector<ChannelSet>& sets() const { return sets_; }

 private:
  bool is_planned() const { return !sets_.empty(); }

  double target(std::int64_t step) const {
    return interpolate(interpolation_, options_.init_sparsity.number, options_.final_sparsity.number,
                       plan_.progress(step));
  }

  static std::int64_t wanted(const ChannelSet& set, double sparsity) {
    return std::llround(sparsity * static_cast<double>(set.size));
  }

  // At least one channel stays, or nothing would come through.
  static std::int64_t removed(const ChannelSet& set, double sparsity) {
    return std::min(wanted(set, sparsity), set.size - 1);
  }

  void plan_sets(State& state, const std::vector<ChannelSpace>& spaces) {
    const bool by_filter = options_.mask_type == "filter";
    std::string reasons;
    for (const auto& space : spaces) {
      auto set = make_channel_set(space, by_filter, state.parameters);
      std::string chosen;
      for (const auto& member : set.scored)
        if (is_selected(member.name)) chosen += (chosen.empty() ? "" : ", ") + member.name;
      if (chosen.empty()) continue;
      const auto& reason = space.fixed.empty() ? space.grouped : space.fixed;
      if (reason.empty()) {
        check_masks(state, set);
        if (wanted(set, options_.final_sparsity.number) == set.size)
          state.notes.push_back("structured pruning: one channel of " + chosen +
                                " stays, or nothing would come through");
        sets_.push_back(std::move(set));
        continue;
      }
      reasons += "\n  " + chosen + ": " + reason;
      state.notes.push_back("structured pruning: all channels of " + chosen + " stay: " + reason);
    }
    if (sets_.empty())
      throw Error("no channel can be removed:" + (reasons.empty() ? " none is selected" : reasons));
  }

  // Tied to the selected ones, and so not claimed when the recipe was bound.
  void check_masks(const State& state, const ChannelSet& set) const {
    for (const auto& member : set.masked)
      if (!is_selected(member.name) && state.masks.find(member.name).defined())
        throw Error(member.name + " has channels in common with " + set.scored.front().name +
                    " and a mask of another modifier");
  }

  bool is_selected(const std::string& name) const {
    return std::find(selected_.begin(), selected_.end(), name) != selected_.end();
  }

  void note_odd(State& state) const {
    Parameters parameters;
    for (const auto& name : selected_) parameters.push_back(*find_named(state.parameters, name));
    note_odd_weights(state, parameters);
  }

  static at::Tensor all_kept(const at::Tensor& parameter) {
    return at::ones_like(parameter.detach(), parameter.options().dtype(at::kBool).requires_grad(false));
  }

  void update(State& state) {
    if (!state.masks.find(sets_.front().masked.front().name).defined()) note_odd(state);
    std::map<std::string, at::Tensor> masks;
    for (const auto& set : sets_) {
      const auto count = removed(set, target(state.step));
      const auto gone = smallest_channels(set, state.parameters, count);
      for (const auto& member : set.masked) {
        auto& mask = masks[member.name];
        if (!mask.defined()) mask = all_kept(find_named(state.parameters, member.name)->tensor);
        channels_of(mask, member, set.size).index_fill_(0, gone.to(mask.device()), false);
      }
    }
    for (const auto& [name, mask] : masks) state.set_mask(*find_named(state.parameters, name), mask);
    is_due_ = false;
  }

  void verify(const State& state, const ChannelSet& set) const {
    const auto wanted = removed(set, options_.final_sparsity.number);
    const auto found = dead_channels(set, state.parameters);
    if (found >= wanted) return;
    throw Error(std::to_string(found) + " of " + std::to_string(set.size) + " channels of " +
                set.scored.front().name + " are removed at the end instead of " + std::to_string(wanted) +
                ": something wrote to them, or another modifier set their masks");
  }

  Options options_;
  Interpolation interpolation_;
  StepPlan plan_;
  std::vector<std::string> selected_;
  std::vector<ChannelSet> sets_;
  bool is_due_ = false;
};

}  // namespace sparsify
