// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "sparsify/param_groups.hpp"
#include "sparsify/registry.hpp"

namespace sparsify {

/// Sets the weight decay of all parameter groups that have one, once, at `start_epoch`; usually 0 when
/// pruning ends. Groups without weight decay (biases, norms) are left so unless `param_groups` names them, or
/// no group has one.
class SetWeightDecay : public Modifier {
 public:
  static constexpr const char* kName = "SetWeightDecayModifier";
  struct Options {
    double start_epoch = -1;
    double weight_decay = 0;
    ParamGroups groups{};
    template <class Visitor>
    void fields(Visitor& visit) {
      visit("start_epoch", start_epoch, "epoch at which it is set; -1: from the beginning",
            epoch_or_minus_one());
      visit("weight_decay", weight_decay, "the weight decay", at_least(0));
      groups.fields(visit);
    }
  };
  explicit SetWeightDecay(const Options& options) : Modifier({options.start_epoch, -1}), options_(options) {
    check(window());
  }

  void attach(Binding& binding) override {
    plan_ = binding.plan(window());
    plan_.end = plan_.start + 1;
    choose_groups(binding.state());
    options_.groups.claim(binding, "the weight decay", plan_.start, plan_.end);
    binding.schedule(
        {"weight decay", plan_, {}, [decay = options_.weight_decay](std::int64_t) { return decay; }});
  }
  void begin_step(State& state) override {
    if (state.step != plan_.start) return;
    bool known = false;
    for (auto* group : chosen_.of(state))
      known |= state.optimizer_access.set_weight_decay(group->options(), options_.weight_decay);
    if (!known) throw Error("this optimizer has no weight decay that can be set");
  }

 private:
  // As the optimizer was made: a modifier may have set some to 0 meanwhile.
  void choose_groups(State& state) {
    chosen_ = options_.groups;
    if (!chosen_.param_groups.empty()) return;
    auto& groups = state.optimizer->param_groups();
    for (std::size_t i = 0; i < groups.size(); ++i)
      if (state.optimizer_access.weight_decay(groups[i].options()).value_or(0) != 0)
        chosen_.param_groups.push_back(static_cast<std::int64_t>(i));
  }

  Options options_;
  StepPlan plan_;
  ParamGroups chosen_;
};

}  // namespace sparsify
