// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "sparsify/odd_weights.hpp"
#include "sparsify/registry.hpp"

namespace sparsify {

/// Keeps the zeros that weights have at `start_epoch`: for fine-tuning and quantizing a model pruned earlier.
class ConstantPruning : public Modifier {
 public:
  static constexpr const char* kName = "ConstantPruningModifier";
  struct Options {
    Window window{};
    std::vector<std::string> params = {"__ALL_PRUNABLE__"};
    std::vector<std::string> exclude{};
    template <class Visitor>
    void fields(Visitor& visit) {
      window.fields(visit);
      visit_selection(visit, params, exclude);
    }
  };
  explicit ConstantPruning(const Options& options) : Modifier(options.window), options_(options) {
    check(options.window);
  }

  void attach(Binding& binding) override {
    plan_ = binding.plan(window());
    selected_ = binding.select(options_.params, options_.exclude);
    for (const auto& parameter : selected_)
      binding.claim("the mask of " + parameter.name, plan_.start, plan_.end);
    binding.schedule({"zeros kept", plan_, names_of(selected_)});
  }

  void begin_step(State& state) override {
    if (state.step != plan_.start) return;
    note_odd_weights(state, selected_);
    bool any = false;
    for (const auto& parameter : selected_) {
      any = any || count_zeros(parameter.tensor) > 0;
      state.set_mask(parameter, parameter.tensor.detach().ne(0));
    }
    if (!any) state.notes.emplace_back("constant pruning: no selected weight has a zero to keep");
  }

  void release(State& state) override {
    if (state.step == plan_.end)
      for (const auto& parameter : selected_) state.masks.remove(parameter.name);
  }

  void finish(State& state) override {
    if (state.step < plan_.start)
      throw Error("training stopped before start_epoch: nothing was held constant");
    for (const auto& parameter : selected_)
      if (const auto mask = state.masks.find(parameter.name);
          mask.defined() && parameter.tensor.detach().masked_select(mask.logical_not()).any().item<bool>())
        throw Error(parameter.name + ": something wrote to its zeros after the last step");
  }

 private:
  Options options_;
  StepPlan plan_;
  Parameters selected_;
};

}  // namespace sparsify
