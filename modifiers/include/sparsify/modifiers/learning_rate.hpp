// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>

#include "sparsify/param_groups.hpp"
#include "sparsify/registry.hpp"

namespace sparsify {

/// The learning rate as PyTorch's schedulers move it, their `lr_kwargs` in epochs: `StepLR` {step_size,
/// gamma}, `MultiStepLR` {milestones, gamma} (milestones count from the same epoch as start_epoch),
/// `ExponentialLR` {gamma} (per epoch), `CosineAnnealingWarmRestarts` {T_0, T_mult, eta_min}.
class LearningRate : public Modifier {
 public:
  static constexpr const char* kName = "LearningRateModifier";
  struct Options {
    Window window{};
    std::string lr_class{};
    Value lr_kwargs{};
    double init_lr = 0;
    ParamGroups groups{};
    template <class Visitor>
    void fields(Visitor& visit) {
      window.fields(visit);
      visit("lr_class", lr_class, "the scheduler of PyTorch",
            one_of({"StepLR", "MultiStepLR", "ExponentialLR", "CosineAnnealingWarmRestarts"}).required());
      visit("lr_kwargs", lr_kwargs, "the arguments of lr_class, by name, lengths in epochs", required());
      visit("init_lr", init_lr, "learning rate at start_epoch", above(0).required());
      groups.fields(visit);
    }
  };
  explicit LearningRate(const Options& options) : Modifier(options.window), options_(options) {
    check(options.window);
    if (options.lr_class == "StepLR") {
      know({"step_size", "gamma"});
      every_ = positive("step_size");
      gamma_ = positive("gamma");
    } else if (options.lr_class == "MultiStepLR") {
      know({"milestones", "gamma"});
      read_milestones();
      gamma_ = positive("gamma");
    } else if (options.lr_class == "ExponentialLR") {
      know({"gamma"});
      every_ = 1;
      gamma_ = positive("gamma");
    } else {
      know({"T_0", "T_mult", "eta_min"});
      every_ = positive("T_0");
      stretch_ = number("T_mult", 1);
      lowest_ = number("eta_min", 0);
      if (!(stretch_ >= 1)) throw InvalidField("lr_kwargs", "T_mult: expected a number >= 1");
    }
  }

  void attach(Binding& binding) override {
    plan_ = binding.plan(window());
    steps_per_epoch_ = binding.state().steps_per_epoch;
    for (const double epoch : milestones_) milestone_steps_.push_back(binding.plan({epoch, -1}).start);
    options_.groups.claim(binding, "the learning rate", plan_.start, plan_.end);
    binding.schedule({"learning rate", plan_, {}, [this](std::int64_t step) { return at_step(step); }});
  }
  void begin_step(State& state) override {
    if (plan_.contains(state.step)) options_.groups.set_learning_rate(state, at_step(state.step));
  }

  /// The learning rate of a step inside the window.
  double at_step(std::int64_t step) const {
    const auto first_step_of = [&](double epoch) {
      return std::llround(epoch * static_cast<double>(steps_per_epoch_));
    };
    if (options_.lr_class == "CosineAnnealingWarmRestarts") return annealed(step - plan_.start);
    std::int64_t drops = 0;
    if (options_.lr_class == "MultiStepLR")
      for (const auto milestone : milestone_steps_) drops += step >= milestone;
    else
      while (plan_.start + first_step_of(static_cast<double>(drops + 1) * every_) <= step) ++drops;
    return options_.init_lr * std::pow(gamma_, static_cast<double>(drops));
  }

 private:
  double annealed(std::int64_t done) const {
    double epochs = static_cast<double>(done) / static_cast<double>(steps_per_epoch_), length = every_;
    while (epochs >= length) epochs -= length, length *= stretch_;
    return lowest_ + (options_.init_lr - lowest_) * (1 + std::cos(M_PI * epochs / length)) / 2;
  }

  void know(const std::vector<std::string>& names) const {
    if (!options_.lr_kwargs.is(Value::Kind::kMapping))
      throw InvalidField(
          "lr_kwargs", "expected a mapping with " + names.front() + ", got " + describe(options_.lr_kwargs));
    std::string list;
    for (const auto& name : names) list += (list.empty() ? "" : ", ") + name;
    for (const auto& [name, value] : options_.lr_kwargs.entries)
      if (std::find(names.begin(), names.end(), name) == names.end())
        throw InvalidField("lr_kwargs", options_.lr_class + " has no argument '" + name + "'; expected " +
                                            list + suggestion(name, names));
  }
  double number(const char* name, double otherwise) const {
    const auto* value = options_.lr_kwargs.find(name);
    if (!value) return otherwise;
    if (!value->is(Value::Kind::kNumber))
      throw InvalidField("lr_kwargs", std::string(name) + ": expected a number, got " + describe(*value));
    return value->number;
  }
  double positive(const char* name) const {
    const double value = number(name, -1);
    if (!(value > 0))
      throw InvalidField("lr_kwargs", options_.lr_class + " needs " + name + ", a number > 0");
    return value;
  }
  void read_milestones() {
    const auto* list = options_.lr_kwargs.find("milestones");
    if (!list || !list->is(Value::Kind::kList) || list->items.empty())
      throw InvalidField("lr_kwargs", "MultiStepLR needs milestones, a list of epochs");
    for (const auto& item : list->items) {
      const bool inside = item.is(Value::Kind::kNumber) && item.number >= window().start_epoch &&
                          (window().end_epoch < 0 || item.number <= window().end_epoch);
      if (!inside)
        throw InvalidField(
            "lr_kwargs", "milestones: expected epochs from start_epoch to end_epoch, got " + describe(item));
      milestones_.push_back(item.number);
    }
  }

  Options options_;
  double every_ = 0, gamma_ = 1, stretch_ = 1, lowest_ = 0;
  std::vector<double> milestones_;
  std::vector<std::int64_t> milestone_steps_;
  StepPlan plan_;
  std::int64_t steps_per_epoch_ = 1;
};

}  // namespace sparsify
