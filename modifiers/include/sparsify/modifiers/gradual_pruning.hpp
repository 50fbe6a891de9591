// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <string>
#include <vector>

#include "sparsify/interpolate.hpp"
#include "sparsify/masks/threshold.hpp"
#include "sparsify/registry.hpp"

namespace sparsify {

/// Options of modifiers that prune gradually; names as in SparseML.
struct GradualPruningOptions {
  Window window{0, -1};
  double update_frequency = -1;
  double init_sparsity = 0.05;
  double final_sparsity = -1;
  std::vector<std::string> params = {"__ALL_PRUNABLE__"};
  std::string inter_func = "cubic";
  std::string mask_type = "unstructured";
  bool leave_enabled = true;

  template <class Visitor>
  void fields(Visitor& visit) {
    window.fields(visit);
    visit("update_frequency", update_frequency, "epochs between mask updates; -1: every step");
    visit("init_sparsity", init_sparsity, "fraction of weights removed at start_epoch, 0 to 1");
    visit("final_sparsity", final_sparsity, "fraction of weights removed at the end, 0 to 1");
    visit("params", params, "which parameters: names, globs, re:..., __ALL__, __ALL_PRUNABLE__");
    visit("inter_func", inter_func, "linear, cubic or inverse_cubic");
    visit("mask_type", mask_type, "unstructured");
    visit("leave_enabled", leave_enabled, "keep masks in force after end_epoch");
  }
};

namespace detail {
inline void check_sparsity(const char* field, double value) {
  if (value >= 0 && value <= 1) return;
  std::string message = "expected a fraction from 0 to 1, got " + std::to_string(value);
  message.erase(message.find_last_not_of('0') + 1);
  if (message.back() == '.') message.pop_back();
  if (value > 1 && value <= 100)
    message += "; percent are written as a fraction: " + std::to_string(value / 100).substr(0, 4);
  throw InvalidField(field, message);
}
}  // namespace detail

/// Gradual magnitude pruning (Zhu & Gupta 2017, arXiv 1710.01878): sparsity grows over the window, and at
/// every update the weights of smallest magnitude go. A derived class says over which sets of tensors
/// magnitudes compete. The final sparsity is in force at the last step before `end_epoch`, so training may
/// stop exactly there.
class GradualPruning : public Modifier {
 public:
  using Options = GradualPruningOptions;
  explicit GradualPruning(const Options& options)
      : Modifier(options.window), options_(options), interpolation_(parse_interpolation(options.inter_func)) {
    check(options.window, true);
    detail::check_sparsity("init_sparsity", options.init_sparsity);
    if (options.final_sparsity == -1)
      throw InvalidField("final_sparsity", "is required, a fraction from 0 to 1");
    detail::check_sparsity("final_sparsity", options.final_sparsity);
    if (options.update_frequency <= 0 && options.update_frequency != -1)
      throw InvalidField("update_frequency", "expected epochs > 0, or -1 for every step");
    if (options.mask_type != "unstructured")
      throw InvalidField("mask_type",
                         "expected unstructured, got '" + options.mask_type + "'; N:M is NMPruningModifier");
  }

  void attach(Binding& binding) override {
    plan_ = binding.plan(window(), options_.update_frequency);
    for (auto& parameter : binding.select(options_.params)) {
      binding.claim("the mask of " + parameter.name, plan_.start, plan_.end);
      selected_.push_back(std::move(parameter));
    }
  }

  void begin_step(State& state) override {
    if (plan_.updates_at(state.step)) update(state);
    if (state.step == plan_.end && !options_.leave_enabled)
      for (const auto& parameter : selected_) state.masks.remove(parameter.name);
  }

  void finish(State& state) override {
    if (state.step < plan_.end)
      throw Error("training stopped at epoch " + std::to_string(state.epoch()) + ", before end_epoch " +
                  std::to_string(options_.window.end_epoch) + ": final_sparsity was not reached");
    if (!options_.leave_enabled) return;
    for (const auto& set : competing_sets()) verify(state, set);
  }

  /// The sparsity asked for at a step of the window.
  double target(std::int64_t step) const {
    return interpolate(interpolation_, options_.init_sparsity, options_.final_sparsity, plan_.progress(step));
  }

 protected:
  /// Sets of parameters within which the smallest magnitudes go.
  virtual std::vector<Parameters> competing_sets() const = 0;
  const Parameters& selected() const { return selected_; }

 private:
  static std::int64_t elements(const Parameters& set) {
    std::int64_t total = 0;
    for (const auto& parameter : set) total += parameter.tensor.numel();
    return total;
  }

  void update(State& state) {
    const double sparsity = target(state.step);
    for (const auto& set : competing_sets()) {
      std::vector<at::Tensor> weights;
      for (const auto& parameter : set) weights.push_back(parameter.tensor);
      const auto masks =
          smallest_magnitude_masks(weights, std::llround(sparsity * static_cast<double>(elements(set))));
      for (std::size_t i = 0; i < set.size(); ++i) {
        state.masks.set(set[i], masks[i]);
        state.optimizer_access.mask_state(set[i].tensor, masks[i]);
      }
    }
  }

  void verify(const State& state, const Parameters& set) const {
    std::int64_t zeros = 0;
    for (const auto& parameter : set)
      zeros += parameter.tensor.numel() - parameter.tensor.count_nonzero().item<std::int64_t>();
    const auto wanted = std::llround(options_.final_sparsity * static_cast<double>(elements(set)));
    if (zeros >= wanted) return;
    const auto percent = [&](std::int64_t n) {
      return std::to_string(100.0 * static_cast<double>(n) / static_cast<double>(elements(set)));
    };
    throw Error((set.size() == 1 ? set.front().name : "all selected weights") + " ended " + percent(zeros) +
                " % sparse instead of " + percent(wanted) + " %" +
                (state.masks.empty() ? ": no mask is in force"
                                     : ": something wrote to pruned weights after the last step"));
  }

  Options options_;
  Interpolation interpolation_;
  StepPlan plan_;
  Parameters selected_;
};

}  // namespace sparsify
