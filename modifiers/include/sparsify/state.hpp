// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <torch/optim/optimizer.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "sparsify/masks.hpp"
#include "sparsify/optimizer_access.hpp"
#include "sparsify/selectors.hpp"
#include "sparsify/window.hpp"

namespace sparsify {

/// What every hook of a modifier sees: the bound model and optimizer, and where training stands.
struct State {
  Parameters parameters;
  Parameters buffers;
  std::vector<std::string> modules{};  ///< names of all, those without parameters too
  torch::optim::Optimizer* optimizer = nullptr;
  OptimizerAccess optimizer_access;
  Masks masks;
  std::int64_t step = 0;  ///< optimizer steps done
  std::int64_t steps_per_epoch = 1;
  bool training = true;               ///< false while the session evaluates
  bool calibrating = false;           ///< nothing is trained: quantizers only observe, whatever the step
  std::vector<at::Tensor> results{};  ///< what `run` returned, inside the hook `forward` and after it ran
  bool needs_teacher = false;         ///< a modifier learns from the teacher in this step
  std::vector<at::Tensor> teacher_results{};  ///< what `step.teach` was given for the batch at hand
  std::int64_t rearrangements = 0;   ///< how often channels changed places: older averages no longer fit
  std::vector<std::string> notes{};  ///< what the user should know: layers left out, and why

  /// Puts a mask in force: on the weight, and on what the optimizer keeps of it.
  void set_mask(const Parameter& parameter, const at::Tensor& mask) {
    masks.set(parameter, mask);
    optimizer_access.mask_state(parameter.tensor, mask);
  }
  double epoch() const { return static_cast<double>(step) / static_cast<double>(steps_per_epoch); }
};

/// What a modifier does over time: for `sparsify recipe plan`, and plots.
struct Schedule {
  std::string what;  ///< "sparsity", "learning rate", "quantization"
  StepPlan plan;
  std::vector<std::string> parameters;               ///< names; empty when it is not about parameters
  std::function<double(std::int64_t step)> value{};  ///< at a step of the window; empty for on and off
};

/// Something one modifier alone sets from step `first` until `end`.
struct Claim {
  std::string what;
  std::int64_t first, end;
  std::int64_t part = kAll;  ///< which parameter group

  static constexpr std::int64_t kAll = -1;
  static constexpr std::int64_t kReader = -2;  ///< nothing is set: it only must not change meanwhile
  bool excludes(const Claim& other) const {
    if (part == kReader || other.part == kReader) return part != other.part;
    return part == other.part || part == kAll || other.part == kAll;
  }
};

/// Given to a modifier once, when a session binds it.
class Binding {
 public:
  /// `offset`: the epoch from which the modifier's epochs count.
  Binding(State& state, std::string owner, double offset = 0)
      : state_(state), owner_(std::move(owner)), offset_(offset) {}

  State& state() { return state_; }
  const std::string& owner() const { return owner_; }
  Parameters select(const std::vector<std::string>& params,
                    const std::vector<std::string>& exclude = {}) const {
    auto selected = sparsify::select(state_.parameters, params, exclude);
    for (const auto& parameter : selected)
      if (!parameter.other_name.empty() &&
          std::find(params.begin(), params.end(), parameter.other_name) != params.end()) {
        state_.notes.push_back(owner_ + ": names of another implementation stand for the model's, such as " +
                               parameter.other_name + " for " + parameter.name);
        break;
      }
    return selected;
  }
  StepPlan plan(const Window& window, double update_frequency = -1) const {
    return StepPlan::compile(window.shifted(offset_), state_.steps_per_epoch, update_frequency);
  }

  /// Declares that this modifier alone sets `what` from step `first` until `end`; two claims that overlap are
  /// an error.
  void claim(const std::string& what, std::int64_t first, std::int64_t end, std::int64_t part = Claim::kAll) {
    claims_.push_back({what, first, end, part});
  }
  /// Declares that nobody may set `what` from step `first` until `end`; others may rely on it too.
  void rely_on(const std::string& what, std::int64_t first, std::int64_t end) {
    claim(what, first, end, Claim::kReader);
  }
  const std::vector<Claim>& claims() const { return claims_; }

  /// Tells what will be done, for people to see.
  void schedule(Schedule schedule) { schedules_.push_back(std::move(schedule)); }
  const std::vector<Schedule>& schedules() const { return schedules_; }

 private:
  State& state_;
  std::string owner_;
  double offset_;
  std::vector<Claim> claims_;
  std::vector<Schedule> schedules_;
};

}  // namespace sparsify
