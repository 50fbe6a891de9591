// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/grad_mode.h>

#include "sparsify/registry.hpp"
#include "sparsify/selectors.hpp"

namespace sparsify {

/// Sets all elements of parameters to one value, once, at `start_epoch`.
class SetParam : public Modifier {
 public:
  static constexpr const char* kName = "SetParamModifier";
  struct Options {
    double start_epoch = -1;
    std::vector<std::string> params{};
    std::vector<std::string> exclude{};
    double val = 0;
    template <class Visitor>
    void fields(Visitor& visit) {
      visit("start_epoch", start_epoch, "epoch at which they are set; -1: from the beginning",
            epoch_or_minus_one());
      visit_selection(visit, params, exclude, required());
      visit("val", val, "the value of every element");
    }
  };
  explicit SetParam(const Options& options) : Modifier({options.start_epoch, -1}), options_(options) {
    check(window());
  }

  void attach(Binding& binding) override {
    plan_ = binding.plan(window());
    plan_.end = plan_.start + 1;
    selected_ = binding.select(options_.params, options_.exclude);
    for (const auto& parameter : selected_)
      binding.claim("the value of " + parameter.name, plan_.start, plan_.end);
    binding.schedule(
        {"value", plan_, names_of(selected_), [val = options_.val](std::int64_t) { return val; }});
  }
  void begin_step(State& state) override {
    if (state.step != plan_.start) return;
    const at::NoGradGuard no_grad;
    for (auto& parameter : selected_) parameter.tensor.fill_(options_.val);
  }

 private:
  Options options_;
  StepPlan plan_;
  Parameters selected_;
};

}  // namespace sparsify
