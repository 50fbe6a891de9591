// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "sparsify/registry.hpp"

namespace sparsify {

/// Sets the weight decay of all parameter groups that have one, once, at `start_epoch`; usually 0 when
/// pruning ends. Groups without weight decay (biases, norms) are left so.
class SetWeightDecay : public Modifier {
 public:
  static constexpr const char* kName = "SetWeightDecayModifier";
  struct Options {
    double start_epoch = -1;
    double weight_decay = 0;
    template <class Visitor>
    void fields(Visitor& visit) {
      visit("start_epoch", start_epoch, "epoch at which it is set; -1: from the beginning");
      visit("weight_decay", weight_decay, "the weight decay, >= 0");
    }
  };
  explicit SetWeightDecay(const Options& options) : Modifier({options.start_epoch, -1}), options_(options) {
    check(window());
    if (!(options.weight_decay >= 0)) throw InvalidField("weight_decay", "expected a number >= 0");
  }

  void attach(Binding& binding) override {
    plan_ = binding.plan(window());
    binding.claim("the weight decay", plan_.start, plan_.start + 1);
  }
  void begin_step(State& state) override {
    if (state.step != plan_.start) return;
    bool known = false;
    for (auto& group : state.optimizer->param_groups())
      known |= state.optimizer_access.set_weight_decay(group.options(), options_.weight_decay);
    if (!known) throw Error("this optimizer has no weight decay that can be set");
  }

 private:
  Options options_;
  StepPlan plan_;
};

}  // namespace sparsify
