// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "sparsify/param_groups.hpp"
#include "sparsify/registry.hpp"

namespace sparsify {

/// Sets the learning rate once, at `start_epoch`.
class SetLearningRate : public Modifier {
 public:
  static constexpr const char* kName = "SetLearningRateModifier";
  struct Options {
    double start_epoch = -1;
    double learning_rate = 0;
    ParamGroups groups{};
    template <class Visitor>
    void fields(Visitor& visit) {
      visit("start_epoch", start_epoch, "epoch at which it is set; -1: from the beginning",
            epoch_or_minus_one());
      visit("learning_rate", learning_rate, "the learning rate", above(0).required());
      groups.fields(visit);
    }
  };
  explicit SetLearningRate(const Options& options) : Modifier({options.start_epoch, -1}), options_(options) {
    check(window());
  }

  void attach(Binding& binding) override {
    plan_ = binding.plan(window());
    plan_.end = plan_.start + 1;
    options_.groups.claim(binding, "the learning rate", plan_.start, plan_.end);
    binding.schedule(
        {"learning rate", plan_, {}, [rate = options_.learning_rate](std::int64_t) { return rate; }});
  }
  void begin_step(State& state) override {
    if (state.step == plan_.start) options_.groups.set_learning_rate(state, options_.learning_rate);
  }

 private:
  Options options_;
  StepPlan plan_;
};

}  // namespace sparsify
