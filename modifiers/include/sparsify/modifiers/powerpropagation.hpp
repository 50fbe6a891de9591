// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "sparsify/registry.hpp"

namespace sparsify {

/// Powerpropagation (Schwarz et al. 2021, arXiv 2110.00296): the optimizer sees theta, where
/// weight = theta * |theta|^(alpha - 1), so that large weights move more and small ones less, and what is
/// near zero stays there. The model holds the weights themselves except while the optimizer steps. For
/// methods that prune by magnitude: those that look at gradients cannot act together with it.
class Powerpropagation : public Modifier {
 public:
  static constexpr const char* kName = "PowerpropagationModifier";
  struct Options {
    Window window{};
    double alpha = 2;
    std::vector<std::string> params = {"__ALL_PRUNABLE__"};
    std::vector<std::string> exclude{};
    template <class Visitor>
    void fields(Visitor& visit) {
      window.fields(visit);
      visit("alpha", alpha, "the power; 1 changes nothing, 2 to 4 are usual", at_least(1).up_to(10));
      visit_selection(visit, params, exclude);
    }
  };
  explicit Powerpropagation(const Options& options) : Modifier(options.window), options_(options) {
    check(options.window);
  }

  void attach(Binding& binding) override {
    plan_ = binding.plan(window());
    selected_ = binding.select(options_.params, options_.exclude);
    for (const auto& parameter : selected_)
      binding.claim("what the optimizer sees of " + parameter.name, plan_.start, plan_.end);
    binding.schedule({"powerpropagation", plan_, names_of(selected_)});
  }

  void begin_step(State&) override { show_weights(); }

  void gradients(State& state) override {
    if (!plan_.contains(state.step)) return;
    at::NoGradGuard no_grad;
    is_theta_ = true;
    for (const auto& parameter : selected_) {
      auto weight = parameter.tensor.detach();
      const auto magnitude = weight.abs().pow_(1 / options_.alpha);  // |theta|
      weight.copy_(weight.sign().mul_(magnitude));
      if (parameter.tensor.grad().defined())
        parameter.tensor.grad().detach().mul_(magnitude.pow(options_.alpha - 1).mul_(options_.alpha));
    }
  }

  void end_step(State&) override { show_weights(); }

 private:
  void show_weights() {
    if (!is_theta_) return;
    at::NoGradGuard no_grad;
    for (const auto& parameter : selected_) {
      auto theta = parameter.tensor.detach();
      theta.mul_(theta.abs().pow_(options_.alpha - 1));
    }
    is_theta_ = false;
  }

  Options options_;
  StepPlan plan_;
  Parameters selected_;
  bool is_theta_ = false;  // the model holds theta: within a step, and after one that did not come to its end
};

}  // namespace sparsify
