// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/grad_mode.h>

#include "sparsify/interpolate.hpp"
#include "sparsify/registry.hpp"
#include "sparsify/selectors.hpp"

namespace sparsify {

/// Moves all elements of parameters from `init_val` to `final_val` over its window.
class GradualParam : public Modifier {
 public:
  static constexpr const char* kName = "GradualParamModifier";
  struct Options {
    Window window{};
    double update_frequency = -1;
    std::vector<std::string> params{};
    std::vector<std::string> exclude{};
    double init_val = 0;
    double final_val = 0;
    std::string inter_func = "linear";
    template <class Visitor>
    void fields(Visitor& visit) {
      window.bounded_fields(visit);
      visit("update_frequency", update_frequency, "epochs between updates; -1: every step",
            update_frequencies());
      visit_selection(visit, params, exclude, required());
      visit("init_val", init_val, "the value at start_epoch");
      visit("final_val", final_val, "the value at the last step before end_epoch");
      visit("inter_func", inter_func, "how the value moves", one_of(interpolations()));
    }
  };
  explicit GradualParam(const Options& options)
      : Modifier(options.window),
        options_(options),
        interpolation_(choose("inter_func", options.inter_func, interpolations())) {
    check(options.window, true);
  }

  void attach(Binding& binding) override {
    plan_ = binding.plan(window(), options_.update_frequency);
    selected_ = binding.select(options_.params, options_.exclude);
    for (const auto& parameter : selected_)
      binding.claim("the value of " + parameter.name, plan_.start, plan_.end);
    binding.schedule(
        {"value", plan_, names_of(selected_), [this](std::int64_t step) { return at_step(step); }});
  }
  void begin_step(State& state) override {
    if (!plan_.updates_at(state.step)) return;
    const at::NoGradGuard no_grad;
    for (auto& parameter : selected_) parameter.tensor.fill_(at_step(state.step));
  }

  /// The value of a step inside the window.
  double at_step(std::int64_t step) const {
    return interpolate(interpolation_, options_.init_val, options_.final_val, plan_.progress(step));
  }

 private:
  Options options_;
  Interpolation interpolation_;
  StepPlan plan_;
  Parameters selected_;
};

}  // namespace sparsify
