// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "sparsify/conflicts.hpp"
#include "sparsify/recipe.hpp"
#include "sparsify/tensors_in.hpp"

namespace torch::nn {
class Conv1dImpl;
class Conv2dImpl;
class Conv3dImpl;
}  // namespace torch::nn

namespace sparsify {

class Session;

/// One optimizer step. Forward and loss may be called several times (accumulated micro-batches), optimize
/// once.
class Step {
 public:
  /// Runs the forward pass with quantizers active in it, and only in it; returns what `run` returns: a
  /// tensor, or vectors, tuples and maps of them. Other tensors that it leaves behind may hold what a kernel
  /// for several operators put there: the integers of a grid, or what a ReLU makes of them.
  template <class Run>
  auto forward(Run&& run) const;
  /// Runs the teacher of a distillation on the same batch, without gradients; not at all when no modifier
  /// learns from it in this step. Before `loss`.
  template <class Run>
  void teach(Run&& run) const;
  /// Lets modifiers add to the loss; returns the loss to differentiate.
  at::Tensor loss(at::Tensor loss) const;
  /// Steps the optimizer; masks hold afterwards. LibTorch's SGD and AdamW step in one pass over memory, with
  /// the same result.
  void optimize() const;
  /// The same with a stepping of one's own. Modifiers look at gradients before it: unscale those of a scaled
  /// loss first.
  template <class Stepper>
  void optimize(Stepper&& stepper) const;

 private:
  friend class Session;
  explicit Step(Session& session) : session_(&session) {}
  Session* session_;
};

/// A recipe bound to one model and one optimizer for one run. The loop is drawn in modifier.hpp.
class Session {
 public:
  /// Binds: selects parameters, compiles the step plan, finds conflicts. `steps_per_epoch` counts optimizer
  /// steps. Model and optimizer must outlive the session. Throws Error naming the recipe's line when
  /// something does not fit. The source that calls it includes torch/torch.h as well: convolutions and
  /// optimizers are looked at by type.
  template <class Net>
  Session(const Recipe& recipe, Net& net, torch::optim::Optimizer& optimizer, std::int64_t steps_per_epoch) {
    if (steps_per_epoch < 1)
      throw Error("steps_per_epoch: expected at least 1, got " + std::to_string(steps_per_epoch));
    state_.parameters = collect_parameters(net);
    for (const auto& buffer : net.named_buffers()) state_.buffers.push_back({buffer.key(), buffer.value()});
    for (const auto& module : net.named_modules("", false)) state_.modules.push_back(module.key());
    state_.optimizer = &optimizer;
    state_.optimizer_access = make_optimizer_access<Net>(optimizer);
    state_.steps_per_epoch = steps_per_epoch;
    bind(recipe);
  }
  Session(const Session&) = delete;  // modifiers hold references into it
  Session& operator=(const Session&) = delete;

  Step begin_step() {
    state_.training = true;
    state_.needs_teacher = false;
    each([&](Modifier& modifier) { modifier.release(state_); });
    each([&](Modifier& modifier) { modifier.begin_step(state_); });
    return Step(*this);
  }

  /// Runs a validation forward pass as the exported model will compute it: quantizers active, nothing
  /// observed. Without gradients, on the CPU in float32, in the very integers of an engine for `cpu`.
  template <class Run>
  auto evaluate(Run&& run) {
    state_.training = false;
    const Restore restore{state_.training, true};
    return run_forward(std::forward<Run>(run));
  }

  /// Runs a forward pass in which quantizers only observe ranges, in floating point: quantization without
  /// training. The first pass of a session is recorded, and not observed. The model is in eval mode.
  template <class Run>
  auto calibrate(Run&& run) {
    state_.calibrating = true;
    const Restore restore{state_.calibrating, false};
    return run_forward(std::forward<Run>(run));
  }

  /// The same as `evaluate` for another module with the same parameter names, such as an EMA copy.
  template <class Net, class Run>
  auto evaluate(Net& copy, Run&& run) {
    const auto parameters = std::exchange(state_.parameters, collect_parameters(copy));
    auto buffers = std::move(state_.buffers);
    state_.buffers.clear();
    for (const auto& buffer : copy.named_buffers()) state_.buffers.push_back({buffer.key(), buffer.value()});
    const struct Back {
      State& state;
      const Parameters& parameters;
      Parameters& buffers;
      ~Back() { state.parameters = parameters, state.buffers = std::move(buffers); }
    } back{state_, parameters, buffers};
    return evaluate(std::forward<Run>(run));
  }

  /// Throws Error naming the modifiers that would never act in a training of so many steps.
  void check_length(std::int64_t steps) const {
    std::string problems;
    for (std::size_t i = 0; i < modifiers_.size(); ++i)
      for (const auto& schedule : schedules_[i])
        if (schedule.plan.start >= steps)
          problems += (problems.empty() ? "" : "\n") + labels_[i] + ": " + schedule.what +
                      " would begin at step " + std::to_string(schedule.plan.start) +
                      ", but training ends after " + std::to_string(steps) + " steps (" +
                      std::to_string(steps / state_.steps_per_epoch) + " epochs)";
    if (!problems.empty()) throw Error(problems);
  }

  /// Goes through the recipe without training, as if all its steps had passed: masks are made and values set
  /// in the order of the schedules, and quantizers are left to `calibrate`. `run` is a forward pass in eval
  /// mode, for modifiers that look at the model. What goes by gradients does not work so.
  template <class Run>
  void apply_once(Run&& run) {
    const at::NoGradGuard no_grad;
    std::int64_t quantized = StepPlan::kNever;
    std::set<std::int64_t> steps;
    for (const auto& schedules : schedules_)
      for (const auto& schedule : schedules) {
        const auto points = schedule.plan.turning_points();
        steps.insert(points.begin(), points.end());
        if (schedule.what == "quantization" || schedule.what == "ranges observed")
          quantized = std::min(quantized, schedule.plan.start);
      }
    for (const auto step : steps) {
      state_.step = step;
      const auto one = begin_step();
      if (step < quantized) one.forward(run);
      one.optimize([] {});
    }
  }

  /// Verifies that every target was reached; throws Error that names those that were not.
  void finish() {
    each([&](Modifier& modifier) { modifier.finish(state_); });
  }

  /// Everything needed to go on: step, masks with their hashes, and what modifiers save.
  StateDict state_dict() const {
    StateDict all;
    all["step"] = at::scalar_tensor(state_.step, at::kLong);
    all["steps_per_epoch"] = at::scalar_tensor(state_.steps_per_epoch, at::kLong);
    state_.masks.save(all);
    for (std::size_t i = 0; i < modifiers_.size(); ++i) {
      StateDict own;
      modifiers_[i]->save(own);
      for (const auto& [name, tensor] : own) all[prefix(i) + name] = tensor;
    }
    return all;
  }

  /// Continues where `state_dict` was taken: load the model's and the optimizer's state first.
  void load_state_dict(const StateDict& all) {
    if (!all.count("step") || !all.count("steps_per_epoch"))
      throw Error("this is not a saved session: it has no step");
    const auto saved = all.at("steps_per_epoch").item<std::int64_t>();
    if (saved != state_.steps_per_epoch)
      throw Error("the saved session counted " + std::to_string(saved) + " steps per epoch, this one " +
                  std::to_string(state_.steps_per_epoch) + ": data or batch size changed");
    state_.step = all.at("step").item<std::int64_t>();
    state_.masks.load(all, state_.parameters);
    for (std::size_t i = 0; i < modifiers_.size(); ++i) {
      StateDict own;
      const auto key = prefix(i);
      for (auto it = all.lower_bound(key); it != all.end() && it->first.rfind(key, 0) == 0; ++it)
        own[it->first.substr(key.size())] = it->second;
      modifiers_[i]->load(own);
    }
  }

  /// The epoch to begin or to go on with.
  std::int64_t first_epoch() const { return state_.step / state_.steps_per_epoch; }
  const State& state() const { return state_; }
  /// What each modifier will do and when, in the recipe's order.
  const std::vector<std::vector<Schedule>>& schedules() const { return schedules_; }
  const Masks& masks() const { return state_.masks; }

  /// The first bound modifier of a type, or null: `session.find<QuantizationModifier>()`.
  template <class M>
  M* find() const {
    const auto found = find_all<M>();
    return found.empty() ? nullptr : found.front();
  }
  /// All of a type, in the recipe's order.
  template <class M>
  std::vector<M*> find_all() const {
    std::vector<M*> found;
    for (const auto& modifier : modifiers_)
      if (auto* one = dynamic_cast<M*>(modifier.get())) found.push_back(one);
    return found;
  }

 private:
  friend class Step;
  struct Restore {
    bool& flag;
    bool value;
    ~Restore() { flag = value; }
  };

  template <class Net>
  static Parameters collect_parameters(Net& net) {
    std::map<std::string, std::int64_t> groups;
    std::map<std::string, std::string> types;  // by prefix of the parameters' names
    const auto look = [&](const std::string& name, auto* any) {
      const auto prefix = name.empty() ? "" : name + ".";
      types[prefix] = module_type(any->name());
      const auto note = [&](auto* convolution) {
        if (convolution) groups[prefix + "weight"] = convolution->options.groups();
        return convolution != nullptr;
      };
      note(dynamic_cast<typename detail::Late<torch::nn::Conv2dImpl, Net>::type*>(any)) ||
          note(dynamic_cast<typename detail::Late<torch::nn::Conv1dImpl, Net>::type*>(any)) ||
          note(dynamic_cast<typename detail::Late<torch::nn::Conv3dImpl, Net>::type*>(any));
    };
    look("",
         &net);  // apart from the others: as one of its own modules it would have to be held by a shared_ptr
    for (const auto& module : net.named_modules("", false)) look(module.key(), module.value().get());
    Parameters parameters;
    for (const auto& parameter : net.named_parameters()) {
      const auto& name = parameter.key();
      const auto found = groups.find(name);
      const auto type = types.find(name.substr(0, name.rfind('.') + 1));
      parameters.push_back({name, parameter.value(), found == groups.end() ? 1 : found->second,
                            type == types.end() ? "" : type->second});
    }
    return parameters;
  }

  // "torch::nn::Conv2dImpl" is called Conv2d by its users.
  static std::string module_type(const std::string& name) {
    const auto colon = name.rfind(':');
    auto type = colon == std::string::npos ? name : name.substr(colon + 1);
    const auto suffix = type.rfind("Impl");
    if (suffix != std::string::npos && suffix + 4 == type.size()) type.resize(suffix);
    return type;
  }

  // Attaches all modifiers before it complains, so that one error names every mistake.
  void bind(const Recipe& recipe) {
    if (recipe.other_name)
      for (auto& parameter : state_.parameters)
        parameter.other_name = recipe.other_name(detail::unwrapped(parameter.name));
    std::string problems;
    detail::Claims claims;
    for (const auto& entry : recipe.entries()) {
      const auto label = entry.label();
      labels_.push_back(label);
      modifiers_.push_back(entry.make());
      Binding binding(state_, label, entry.offset);
      try {
        explain(label, [&] { modifiers_.back()->attach(binding); });
      } catch (const Error& error) {
        problems += (problems.empty() ? "" : "\n") + std::string(error.what());
      }
      schedules_.push_back(binding.schedules());
      const auto conflicts = detail::conflicts_of(binding.claims(), claims);
      for (const auto& claim : binding.claims()) claims[claim.what].emplace_back(claim, label);
      for (const auto& [other, conflict] : conflicts) {
        auto text = label;
        text.append(": ").append(conflict.text).append("; their epochs overlap");
        if (recipe.overlaps_allowed && conflict.both_set)
          state_.notes.push_back(text + "; the former has the last word");
        else
          problems += (problems.empty() ? "" : "\n") + text;
      }
    }
    if (!problems.empty()) throw Error(problems);
  }

  template <class Act>
  static void explain(const std::string& label, Act&& act) {
    try {
      act();
    } catch (const Error& error) {
      throw Error(label + ": " + error.what());
    }
  }

  template <class Act>
  void each(Act&& act) {
    for (std::size_t i = 0; i < modifiers_.size(); ++i) explain(labels_[i], [&] { act(*modifiers_[i]); });
  }

  // Nests the modifiers' forward hooks around `run`, the first modifier outermost.
  void nest_forward(std::size_t index, const std::function<void()>& run) {
    if (index == modifiers_.size()) return run();
    modifiers_[index]->forward(state_, [&] { nest_forward(index + 1, run); });
  }

  template <class Run>
  auto run_forward(Run&& run) {
    using Result = std::invoke_result_t<Run>;
    if constexpr (std::is_void_v<Result>) {
      nest_forward(0, [&] { run(); });
    } else {
      std::optional<Result> result;
      nest_forward(0, [&] {
        result.emplace(run());
        state_.results.clear();
        each_tensor_in(*result, [&](const at::Tensor& tensor) { state_.results.push_back(tensor); });
      });
      state_.results.clear();
      return std::move(*result);
    }
  }

  template <class Stepper>
  void optimize(Stepper&& stepper) {
    each([&](Modifier& modifier) { modifier.gradients(state_); });
    state_.masks.apply_to_gradients();
    stepper();
    state_.masks.apply_to_weights();
    end_step();
  }

  void optimize() {
    each([&](Modifier& modifier) { modifier.gradients(state_); });
    if (!state_.optimizer_access.masked_step(state_.masks)) {
      state_.masks.apply_to_gradients();
      state_.optimizer->step();
      state_.masks.apply_to_weights();
    }
    end_step();
  }

  void end_step() {
    each([&](Modifier& modifier) { modifier.end_step(state_); });
    ++state_.step;
  }

  std::string prefix(std::size_t index) const { return "modifiers." + std::to_string(index) + "."; }

  State state_;
  std::vector<std::unique_ptr<Modifier>> modifiers_;
  std::vector<std::string> labels_;
  std::vector<std::vector<Schedule>> schedules_;
};

template <class Run>
auto Step::forward(Run&& run) const {
  return session_->run_forward(std::forward<Run>(run));
}

template <class Run>
void Step::teach(Run&& run) const {
  auto& state = session_->state_;
  if (!state.needs_teacher) return;
  const at::NoGradGuard no_grad;
  state.teacher_results.clear();
  each_tensor_in(run(), [&](const at::Tensor& tensor) { state.teacher_results.push_back(tensor); });
}

inline at::Tensor Step::loss(at::Tensor loss) const {
  session_->each([&](Modifier& modifier) { loss = modifier.loss(session_->state_, loss); });
  return loss;
}

template <class Stepper>
void Step::optimize(Stepper&& stepper) const {
  session_->optimize(std::forward<Stepper>(stepper));
}

inline void Step::optimize() const { session_->optimize(); }

}  // namespace sparsify
