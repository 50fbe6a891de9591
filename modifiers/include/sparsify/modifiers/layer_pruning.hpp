// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros_like.h>

#include <map>
#include <string>
#include <vector>

#include "sparsify/registry.hpp"

namespace sparsify {

/// Removes whole layers: every parameter of the named modules is zero from `start_epoch` on, biases and batch
/// norm included, so that a residual branch adds nothing and its block hands on its input. At `end_epoch`
/// they come back as they were.
class LayerPruning : public Modifier {
 public:
  static constexpr const char* kName = "LayerPruningModifier";
  struct Options {
    Window window{};
    std::vector<std::string> layers{};
    template <class Visitor>
    void fields(Visitor& visit) {
      window.fields(visit);
      visit("layers", layers, "module names, such as layer3.4; branches that are added to something",
            required());
    }
  };
  explicit LayerPruning(const Options& options) : Modifier(options.window), options_(options) {
    check(options.window);
    if (options.layers.empty()) throw InvalidField("layers", "is empty; expected module names");
  }

  void attach(Binding& binding) override {
    plan_ = binding.plan(window());
    for (const auto& layer : options_.layers) {
      const auto before = selected_.size();
      const auto add = [&](const Parameters& from, Parameters& to) {
        for (const auto& candidate : from)
          if (detail::unwrapped(candidate.name).rfind(detail::unwrapped(layer) + ".", 0) == 0)
            to.push_back(candidate);
      };
      add(binding.state().parameters, selected_);
      add(binding.state().buffers, statistics_);
      if (selected_.size() == before)
        throw InvalidField("layers", "'" + layer + "' is no module with parameters" +
                                         suggestion(layer, modules_of(binding.state().parameters)));
    }
    for (const auto& parameter : selected_)
      binding.claim("the mask of " + parameter.name, plan_.start, plan_.end);
    binding.rely_on("the order of channels", plan_.start, plan_.end);
    binding.schedule({"removed", plan_, names_of(selected_)});
  }

  void release(State& state) override {
    if (state.step != plan_.end) return;
    const at::NoGradGuard no_grad;
    for (const auto& parameter : selected_) {
      state.masks.remove(parameter.name);
      parameter.tensor.detach().copy_(values_.at(parameter.name));
    }
    for (const auto& buffer : statistics_) buffer.tensor.detach().copy_(values_.at(buffer.name));
  }

  void begin_step(State& state) override {
    if (state.step != plan_.start) return;
    for (const auto& parameter : selected_) {
      values_.try_emplace(parameter.name, parameter.tensor.detach().clone());
      state.set_mask(parameter, at::zeros_like(parameter.tensor.detach(), at::kBool));
    }
    // Batch norm sees nothing but zeros until then.
    for (const auto& buffer : statistics_) values_.try_emplace(buffer.name, buffer.tensor.detach().clone());
  }

  void finish(State& state) override {
    if (state.step <= plan_.start) throw Error("training stopped before start_epoch: nothing was removed");
    if (state.step > plan_.end) return;  // it is back
    for (const auto& parameter : selected_)
      if (count_zeros(parameter.tensor) < parameter.tensor.numel())
        throw Error(parameter.name + " is not zero at the end");
  }

  void save(StateDict& state) const override {
    for (const auto& [name, value] : values_) state["values." + name] = value;
  }
  void load(const StateDict& state) override {
    values_.clear();
    for (const auto* tensors : {&selected_, &statistics_})
      for (const auto& tensor : *tensors)
        if (const auto value = state.find("values." + tensor.name); value != state.end())
          values_[tensor.name] = value->second;
  }

 private:
  Options options_;
  StepPlan plan_;
  Parameters selected_, statistics_;
  std::map<std::string, at::Tensor> values_;  // of both, from before the removal
};

}  // namespace sparsify
