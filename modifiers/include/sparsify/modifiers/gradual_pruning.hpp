// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "sparsify/interpolate.hpp"
#include "sparsify/masks/mask_type.hpp"
#include "sparsify/masks/n_of_m_eligibility.hpp"
#include "sparsify/masks/smallest.hpp"
#include "sparsify/odd_weights.hpp"
#include "sparsify/registry.hpp"
#include "sparsify/selectors.hpp"
#include "sparsify/tiers.hpp"

namespace sparsify {

/// Options of modifiers that prune gradually; names as in SparseML.
struct GradualPruningOptions {
  Window window{0, -1};
  double update_frequency = -1;
  Value init_sparsity = 0.05;
  Value final_sparsity{};
  std::vector<std::string> params = {"__ALL_PRUNABLE__"};
  std::string inter_func = "cubic";
  Value mask_type = "unstructured";
  bool leave_enabled = true;
  std::vector<std::string> exclude{};
  NofMEligibility eligible{};

  template <class Visitor>
  void fields(Visitor& visit) {
    window.bounded_fields(visit);
    visit("update_frequency", update_frequency, "epochs between mask updates; -1: every step",
          update_frequencies());
    visit("init_sparsity", init_sparsity,
          "fraction of weights removed at start_epoch; __FROM_PARAM__: what is zero then", fraction());
    visit("final_sparsity", final_sparsity,
          "fraction of weights removed at the end; or a mapping from fractions to selectors, the first match "
          "wins, and `params` are all of them",
          fraction().required());
    visit_selection(visit, params, exclude);
    visit("inter_func", inter_func, "how sparsity grows", one_of(interpolations()));
    visit("mask_type", mask_type, kMaskTypes);
    eligible.fields(visit);
    visit("leave_enabled", leave_enabled, "keep masks in force after end_epoch");
  }
};

namespace detail {
/// Throws Error unless the window is over.
inline void check_reached_end(const State& state, const StepPlan& plan, const Window& window) {
  if (state.step >= plan.end) return;
  throw Error("training stopped at epoch " + std::to_string(state.epoch()) + ", before end_epoch " +
              std::to_string(window.end_epoch) + ": final_sparsity was not reached");
}

/// Throws Error unless the weights are at least so sparse. Counted in units: blocks at the edges are smaller
/// than others.
inline void check_sparsity_holds(const State& state, const Parameters& parameters, const MaskType& type,
                                 double sparsity) {
  double pruned = 0, total = 0;
  for (const auto& parameter : parameters) {
    const auto kept = type.kind == MaskType::Kind::kBlocks
                          ? block_scores(parameter.tensor.detach(), type.block)
                          : parameter.tensor.detach();
    total += static_cast<double>(kept.numel());
    pruned += static_cast<double>(count_zeros(kept));
  }
  const double wanted = std::round(sparsity * total);
  if (pruned >= wanted) return;
  const auto percent = [&](double n) { return std::to_string(100 * n / total); };
  throw Error((parameters.size() == 1 ? parameters.front().name : "all selected weights") + " ended " +
              percent(pruned) + " % sparse instead of " + percent(wanted) + " %" +
              (state.masks.empty() ? ": no mask is in force"
                                   : ": something wrote to pruned weights after the last step"));
}

inline void check_sparsity(const char* field, const Value& value) {
  if (value.is(Value::Kind::kNumber)) return fraction().check(field, value.number);
  if (value.is(Value::Kind::kNone)) throw InvalidField(field, "is required, " + fraction().text());
  throw InvalidField(field, "expected " + fraction().text() + ", got " + describe(value));
}
}  // namespace detail

/// Pruning whose sparsity grows over a window (Zhu & Gupta 2017, arXiv 1710.01878): at every update the units
/// of the mask type with the smallest scores go. A derived class says over which sets of tensors scores
/// compete, and may bring scores other than magnitude. The final sparsity is in force at the last step before
/// `end_epoch`, so training may stop exactly there.
class GradualPruning : public Modifier {
 public:
  using Options = GradualPruningOptions;
  explicit GradualPruning(const Options& options)
      : Modifier(options.window),
        options_(options),
        interpolation_(choose("inter_func", options.inter_func, interpolations())),
        mask_type_(MaskType::parse(options.mask_type)) {
    check(options.window, true);
    if (options.init_sparsity != Value("__FROM_PARAM__"))
      detail::check_sparsity("init_sparsity", options.init_sparsity);
    choose_tiers();
    check_fits_pattern();
  }

  void attach(Binding& binding) override {
    plan_ = binding.plan(window(), options_.update_frequency);
    for (const auto& tier : tiers_) {
      auto selected = binding.select(tier.params, options_.exclude);
      const auto earlier = [&](const Parameter& parameter) {
        return std::any_of(selected_.begin(), selected_.end(),
                           [&](const auto& other) { return other.name == parameter.name; });
      };
      selected.erase(std::remove_if(selected.begin(), selected.end(), earlier), selected.end());
      if (selected.empty())
        throw InvalidField("final_sparsity", "earlier entries have all parameters that this one selects");
      if (mask_type_.kind == MaskType::Kind::kNofM) leave_out_ineligible(binding.state(), selected);
      selected_.insert(selected_.end(), selected.begin(), selected.end());
      for (const auto& parameter : selected)
        binding.claim("the mask of " + parameter.name, plan_.start, plan_.end);
      const double last = tier.number;
      binding.schedule({scope(), plan_, names_of(selected), [this, last](std::int64_t step) {
                          return target(step, options_.init_sparsity.number, last);
                        }});
      for (auto& parameters : competing_sets(selected)) {
        if (parameters.size() > 1) mask_type_.check_can_compete();
        sets_.push_back({std::move(parameters), options_.init_sparsity.number, last});
      }
    }
  }

  void begin_step(State& state) override {
    if (state.step == plan_.start && options_.init_sparsity.is(Value::Kind::kText))
      for (auto& set : sets_) set.init_sparsity = set.zeros() / set.elements();
    if (state.step == plan_.start) note_odd_weights(state, selected(), mask_type_);
    if (plan_.updates_at(state.step)) update(state);
  }

  void release(State& state) override {
    if (state.step == plan_.end && !options_.leave_enabled)
      for (const auto& parameter : selected()) state.masks.remove(parameter.name);
  }

  void finish(State& state) override {
    detail::check_reached_end(state, plan_, window());
    if (!options_.leave_enabled) return;
    for (const auto& set : sets_)
      detail::check_sparsity_holds(state, set.parameters, mask_type_, set.final_sparsity);
    note_emptied(state, selected());
  }

  void save(StateDict& state) const override {
    if (!options_.init_sparsity.is(Value::Kind::kText)) return;
    auto first = at::empty({static_cast<std::int64_t>(sets_.size())}, at::kDouble);
    for (std::size_t i = 0; i < sets_.size(); ++i)
      first.mutable_data_ptr<double>()[i] = sets_[i].init_sparsity;
    state["init_sparsity"] = first;
  }
  void load(const StateDict& state) override {
    const auto found = state.find("init_sparsity");
    if (found == state.end()) return;
    if (found->second.numel() != static_cast<std::int64_t>(sets_.size()))
      throw Error("the saved session pruned other parameters");
    for (std::size_t i = 0; i < sets_.size(); ++i)
      sets_[i].init_sparsity = found->second.const_data_ptr<double>()[i];
  }

 protected:
  /// Splits the parameters of one target into sets within which the smallest scores go.
  virtual std::vector<Parameters> competing_sets(const Parameters& parameters) const = 0;
  /// What the target is called in plans.
  virtual const char* scope() const { return "sparsity"; }
  /// One score for every weight, of the weight's shape: the smallest magnitudes go.
  virtual at::Tensor scores(const State&, const Parameter& parameter) { return parameter.tensor; }
  /// Whether scores count with their sign: what is below zero goes first.
  virtual bool signed_scores() const { return false; }
  /// Puts a new mask in force.
  virtual void prune(State& state, const Parameter& parameter, const at::Tensor& mask) {
    state.set_mask(parameter, mask);
  }
  /// After all masks of an update are in force.
  virtual void updated(State&) {}

  /// For methods that keep what they see of gradients: from step `first` on, nothing may change what it
  /// belongs to.
  void rely_on_gradients(Binding& binding, std::int64_t first) const {
    for (const auto& parameter : selected_)
      binding.rely_on("what the optimizer sees of " + parameter.name, first, plan_.end);
    binding.rely_on("the order of channels", first, plan_.end);
  }

  const StepPlan& plan() const { return plan_; }
  const Parameters& selected() const { return selected_; }
  static std::vector<Parameters> one_set_each(const Parameters& parameters) {
    std::vector<Parameters> sets;
    for (const auto& parameter : parameters) sets.push_back({parameter});
    return sets;
  }

 private:
  /// Parameters that end at one sparsity.
  struct Set {
    Parameters parameters;
    double init_sparsity, final_sparsity;

    double elements() const {
      double total = 0;
      for (const auto& parameter : parameters) total += static_cast<double>(parameter.tensor.numel());
      return total;
    }
    double zeros() const {
      double total = 0;
      for (const auto& parameter : parameters) total += static_cast<double>(count_zeros(parameter.tensor));
      return total;
    }
  };

  void choose_tiers() {
    const auto& value = options_.final_sparsity;
    if (!value.is(Value::Kind::kMapping)) {
      detail::check_sparsity("final_sparsity", value);
      tiers_ = {{value.number, options_.params}};
      return;
    }
    if (options_.params.size() > 1 ||
        (options_.params.size() == 1 && options_.params[0].rfind("__ALL", 0) != 0))
      throw InvalidField("params", "the mapping in final_sparsity says which; leave params out");
    tiers_ = read_tiers("final_sparsity", value);
    for (const auto& tier : tiers_) detail::check_sparsity("final_sparsity", tier.number);
  }

  double target(std::int64_t step, double first, double last) const {
    return interpolate(interpolation_, first, last, plan_.progress(step));
  }

  // N:M ends at its own sparsity, or is not begun.
  void check_fits_pattern() const {
    if (mask_type_.kind != MaskType::Kind::kNofM) return;
    const double most = mask_type_.pattern.sparsity();
    for (const auto& tier : tiers_)
      if (tier.number != 0 && std::fabs(tier.number - most) > 0.01)
        throw InvalidField("final_sparsity", "expected " + std::to_string(most).substr(0, 5) +
                                                 " for this mask_type, got " +
                                                 std::to_string(tier.number).substr(0, 5));
  }

  void leave_out_ineligible(State& state, Parameters& parameters) const {
    const auto& pattern = mask_type_.pattern;
    const auto name = std::to_string(pattern.n) + ":" + std::to_string(pattern.m);
    std::string reason;
    const auto is_left_out = [&](const Parameter& parameter) {
      const auto why = options_.eligible.why_not(parameter, pattern);
      if (why.empty()) return false;
      state.notes.push_back(name + ": " + parameter.name + " stays dense: " + why);
      reason = parameter.name + ": " + why;
      return true;
    };
    parameters.erase(std::remove_if(parameters.begin(), parameters.end(), is_left_out), parameters.end());
    if (parameters.empty())
      throw InvalidField("mask_type", "no selected weight can be pruned " + name + " (" + reason + ")");
  }

  void update(State& state) {
    std::vector<std::vector<at::Tensor>> units;
    std::vector<std::int64_t> pruned;
    for (const auto& set : sets_) {
      std::int64_t total = 0;
      units.emplace_back();
      for (const auto& parameter : set.parameters) {
        units.back().push_back(mask_type_.units(scores(state, parameter), signed_scores()));
        total += units.back().back().numel();
      }
      const double sparsity = target(state.step, set.init_sparsity, set.final_sparsity);
      pruned.push_back(std::llround(sparsity * static_cast<double>(total)));
    }
    const auto kept =
        signed_scores() ? smallest_value_masks(units, pruned) : smallest_magnitude_masks(units, pruned);
    for (std::size_t s = 0; s < sets_.size(); ++s)
      for (std::size_t i = 0; i < kept[s].size(); ++i) {
        const auto& parameter = sets_[s].parameters[i];
        prune(state, parameter, mask_type_.mask(kept[s][i], parameter.tensor));
      }
    updated(state);
  }

  Options options_;
  Interpolation interpolation_;
  MaskType mask_type_;
  StepPlan plan_;
  std::vector<Tier> tiers_;
  Parameters selected_;
  std::vector<Set> sets_;
};

}  // namespace sparsify
