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
      visit_selection(visit, params, exclude);
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

  void begin_step(State& state) override {
    const bool active = plan_.contains(state.step);
    if (active == active_) return;
    for (auto& parameter : selected_) {
      parameter.tensor.requires_grad_(active ? options_.trainable : before_[parameter.name]);
      // A stale gradient would keep the optimizer moving a frozen parameter.
      if (!parameter.tensor.requires_grad()) parameter.tensor.mutable_grad().reset();
    }
    active_ = active;
  }

 private:
  Options options_;
  StepPlan plan_;
  Parameters selected_;
  std::map<std::string, bool> before_;
  bool active_ = false;
};

}  // namespace sparsify
