// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <sparsify/registry.hpp>

/// Adds Gaussian noise to gradients while its window is open.
struct GradientNoise : sparsify::Modifier {
  static constexpr const char* kName = "GradientNoiseModifier";  // its tag in YAML
  struct Options {
    sparsify::Window window{};
    std::vector<std::string> params = {"__ALL_PRUNABLE__"};
    double stddev = 0.01;
    template <class Visitor>
    void fields(Visitor& visit) {
      window.fields(visit);
      visit("params", params, "which parameters");
      visit("stddev", stddev, "standard deviation of the noise");
    }
  } options;

  explicit GradientNoise(const Options& o) : Modifier(o.window), options(o) { check(o.window); }
  void gradients(sparsify::State& state) override {
    if (!sparsify::StepPlan::compile(window(), state.steps_per_epoch).contains(state.step)) return;
    for (const auto& parameter : sparsify::select(state.parameters, options.params)) {
      const auto& gradient = parameter.tensor.grad();
      if (gradient.defined()) gradient.add_(gradient.clone().normal_(), options.stddev);
    }
  }
};
SPARSIFY_REGISTER_MODIFIER(GradientNoise);
