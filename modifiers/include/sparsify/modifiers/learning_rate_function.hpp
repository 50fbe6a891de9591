// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>

#include "sparsify/param_groups.hpp"
#include "sparsify/registry.hpp"

namespace sparsify {

/// Moves the learning rate from `init_lr` to `final_lr` over its window, every step: `linear`, half a
/// `cosine` (SGDR without restarts, arXiv 1608.03983 eq. 5), or `cyclic_linear`, which starts again every
/// `cycle_epochs`.
class LearningRateFunction : public Modifier {
 public:
  static constexpr const char* kName = "LearningRateFunctionModifier";
  struct Options {
    Window window{};
    std::string lr_func = "cosine";
    double init_lr = 0;
    double final_lr = 0;
    double cycle_epochs = 1;
    ParamGroups groups{};
    template <class Visitor>
    void fields(Visitor& visit) {
      window.bounded_fields(visit);
      visit("lr_func", lr_func, "how the rate moves", one_of({"linear", "cosine", "cyclic_linear"}));
      visit("init_lr", init_lr, "learning rate at start_epoch", at_least(0));
      visit("final_lr", final_lr, "learning rate at the last step before end_epoch, or of a cycle",
            at_least(0));
      visit("cycle_epochs", cycle_epochs, "length of a cycle in epochs, for cyclic_linear", above(0));
      groups.fields(visit);
    }
  };
  explicit LearningRateFunction(const Options& options) : Modifier(options.window), options_(options) {
    check(options.window, true);
  }

  void attach(Binding& binding) override {
    plan_ = binding.plan(window());
    cycle_ = options_.cycle_epochs * static_cast<double>(binding.state().steps_per_epoch);
    options_.groups.claim(binding, "the learning rate", plan_.start, plan_.end);
    binding.schedule({"learning rate", plan_, {}, [this](std::int64_t step) { return at_step(step); }});
  }
  void begin_step(State& state) override {
    if (plan_.contains(state.step)) options_.groups.set_learning_rate(state, at_step(state.step));
  }

  /// The learning rate of a step inside the window.
  double at_step(std::int64_t step) const {
    double x = options_.lr_func == "cyclic_linear" ? progress_of_cycle(step) : plan_.progress(step);
    if (options_.lr_func == "cosine") x = (1 - std::cos(x * M_PI)) / 2;
    return options_.init_lr + x * (options_.final_lr - options_.init_lr);
  }

 private:
  // Cycles begin at rounded multiples of their length, so that they do not drift; the last may be shorter.
  double progress_of_cycle(std::int64_t step) const {
    const auto begin_of = [&](std::int64_t cycle) {
      return std::min<std::int64_t>(plan_.end,
                                    plan_.start + std::llround(static_cast<double>(cycle) * cycle_));
    };
    auto cycle = static_cast<std::int64_t>(static_cast<double>(step - plan_.start) / cycle_);
    while (cycle > 0 && begin_of(cycle) > step) --cycle;
    while (begin_of(cycle + 1) <= step) ++cycle;
    StepPlan one;
    one.start = begin_of(cycle), one.end = std::max(begin_of(cycle + 1), one.start + 1);
    return step == one.start ? 0 : one.progress(step);
  }

  Options options_;
  StepPlan plan_;
  double cycle_ = 1;  // steps
};

}  // namespace sparsify
