// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>

#include "sparsify/registry.hpp"

namespace sparsify {

/// Freezes (or unfreezes) parameters during its window, and restores them after it.
class TrainableParams : public Modifier {
 public:
  static constexpr const char* kName = "TrainableParamsModifier";
  struct Options {
    Window window{};
    std::vector<std::string> params{};
    bool trainable = false;
    std::vector<std::string> exclude{};
    template <class Visitor>
    void fields(Visitor& visit) {
      window.fields(visit);
      visit_selection(visit, params, exclude, required());
      visit("trainable", trainable, "false freezes them");
    }
  };
  explicit TrainableParams(const Options& options) : Modifier(options.window), options_(options) {
    check(options.window);
  }

  void attach(Binding& binding) override {
    plan_ = binding.plan(window());
    selected_ = binding.select(options_.params, options_.exclude);
    for (const auto& parameter : selected_) {
      binding.claim("whether " + parameter.name + " trains", plan_.start, plan_.end);
      before_[parameter.name] = parameter.tensor.requires_grad();
    }
    binding.schedule({options_.trainable ? "trainable" : "frozen", plan_, names_of(selected_)});
  }

  void release(State& state) override {
    if (!active_ || plan_.contains(state.step)) return;
    for (const auto& parameter : selected_) set(parameter, before_[parameter.name]);
    active_ = false;
  }
  void begin_step(State& state) override {
    if (active_ || !plan_.contains(state.step)) return;
    for (const auto& parameter : selected_) set(parameter, options_.trainable);
    active_ = true;
  }

 private:
  static void set(const Parameter& parameter, bool trainable) {
    parameter.tensor.requires_grad_(trainable);
    // A stale gradient would keep the optimizer moving a frozen parameter.
    if (!trainable) parameter.tensor.mutable_grad().reset();
  }

  Options options_;
  StepPlan plan_;
  Parameters selected_;
  std::map<std::string, bool> before_;
  bool active_ = false;
};

}  // namespace sparsify
