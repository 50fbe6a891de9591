// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>

#include "sparsify/modifiers/set_learning_rate.hpp"

namespace sparsify {

/// Moves the learning rate from `init_lr` to `final_lr` over its window, every step: `linear`, or half a
/// `cosine` (SGDR without restarts, arXiv 1608.03983 eq. 5).
class LearningRateFunction : public Modifier {
 public:
  static constexpr const char* kName = "LearningRateFunctionModifier";
  struct Options {
    Window window{};
    std::string lr_func = "cosine";
    double init_lr = 0;
    double final_lr = 0;
    template <class Visitor>
    void fields(Visitor& visit) {
      window.fields(visit);
      visit("lr_func", lr_func, "linear or cosine");
      visit("init_lr", init_lr, "learning rate at start_epoch");
      visit("final_lr", final_lr, "learning rate at the last step before end_epoch");
    }
  };
  explicit LearningRateFunction(const Options& options) : Modifier(options.window), options_(options) {
    check(options.window, true);
    if (options.lr_func != "linear" && options.lr_func != "cosine")
      throw InvalidField("lr_func", "expected linear or cosine, got '" + options.lr_func + "'");
    if (!(options.init_lr >= 0)) throw InvalidField("init_lr", "expected a number >= 0");
    if (!(options.final_lr >= 0)) throw InvalidField("final_lr", "expected a number >= 0");
  }

  void attach(Binding& binding) override {
    plan_ = binding.plan(window());
    binding.claim("the learning rate", plan_.start, plan_.end);
  }
  void begin_step(State& state) override {
    if (plan_.contains(state.step)) detail::set_learning_rate(state, at_step(state.step));
  }

  /// The learning rate of a step inside the window.
  double at_step(std::int64_t step) const {
    double x = plan_.progress(step);
    if (options_.lr_func == "cosine") x = (1 - std::cos(x * M_PI)) / 2;
    return options_.init_lr + x * (options_.final_lr - options_.init_lr);
  }

 private:
  Options options_;
  StepPlan plan_;
};

}  // namespace sparsify
