// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "sparsify/limits.hpp"

namespace sparsify {

/// Above any training; steps of more epochs might not fit an integer.
inline constexpr double kMostEpochs = 1e6;

inline Limits epoch_number() {
  auto limits = at_least(0).up_to(kMostEpochs);
  limits.noun = "an epoch";
  return limits;
}
/// An epoch, or -1 for none.
inline Limits epoch_or_minus_one() { return epoch_number().or_minus_one(); }
/// How many epochs lie between updates; -1: every step.
inline Limits update_frequencies() {
  auto limits = above(0).or_minus_one();
  limits.noun = "epochs";
  return limits;
}

/// When a modifier acts, in epochs (fractions allowed), half-open. -1 as start: from the beginning; -1 as
/// end: never ends.
struct Window {
  double start_epoch = -1;
  double end_epoch = -1;

  /// The same window of a stage that begins `epochs` later.
  Window shifted(double epochs) const {
    return {start_epoch < 0 && epochs == 0 ? start_epoch : std::max(0.0, start_epoch) + epochs,
            end_epoch < 0 ? end_epoch : end_epoch + epochs};
  }

  template <class Visitor>
  void fields(Visitor& visit) {
    visit("start_epoch", start_epoch, "epoch at which it begins to act; -1: from the beginning",
          epoch_or_minus_one());
    visit("end_epoch", end_epoch, "epoch at which it stops acting; -1: never", epoch_or_minus_one());
  }
  /// The fields of what must end.
  template <class Visitor>
  void bounded_fields(Visitor& visit) {
    visit("start_epoch", start_epoch, "epoch at which it begins to act; -1: from the beginning",
          epoch_or_minus_one());
    visit("end_epoch", end_epoch, "epoch at which it stops acting", epoch_number().required());
  }
};

/// Throws InvalidField unless the window is in order; `bounded` also asks for an end.
inline void check(const Window& window, bool bounded = false) {
  epoch_or_minus_one().check("start_epoch", window.start_epoch);
  epoch_or_minus_one().check("end_epoch", window.end_epoch);
  if (window.end_epoch == -1 && !bounded) return;
  if (window.end_epoch == -1)
    throw InvalidField("end_epoch", "an end is required here: expected an epoch after start_epoch");
  if (window.end_epoch <= window.start_epoch)
    throw InvalidField("end_epoch", "must lie after start_epoch " + std::to_string(window.start_epoch) +
                                        ", got " + std::to_string(window.end_epoch));
}

/// A window compiled to optimizer steps: computed once when a recipe is bound, exact from then on.
struct StepPlan {
  static constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();

  std::int64_t start = 0;     ///< first step of the window
  std::int64_t end = kNever;  ///< first step after it
  double every = 1;           ///< steps between updates; a fraction is kept so that updates do not drift

  /// `update_frequency` in epochs; -1 means every step. Windows shorter than a step still hold one step.
  static StepPlan compile(const Window& window, std::int64_t steps_per_epoch, double update_frequency = -1) {
    const auto steps = [&](double epochs) {
      return std::llround(epochs * static_cast<double>(steps_per_epoch));
    };
    StepPlan plan;
    plan.start = window.start_epoch < 0 ? 0 : steps(window.start_epoch);
    plan.end =
        window.end_epoch < 0 ? kNever : std::max<std::int64_t>(steps(window.end_epoch), plan.start + 1);
    if (update_frequency > 0)
      plan.every = std::max(1.0, update_frequency * static_cast<double>(steps_per_epoch));
    return plan;
  }

  bool contains(std::int64_t step) const { return step >= start && step < end; }

  /// The last step of the window: the final value is in force when it runs, so training may stop exactly at
  /// the end.
  std::int64_t last() const { return end == kNever ? kNever : end - 1; }

  bool updates_at(std::int64_t step) const {
    if (!contains(step)) return false;
    if (step == start || step == last()) return true;
    const double offset = static_cast<double>(step - start);
    return std::llround(std::round(offset / every) * every) == step - start;
  }

  /// How many updates there are before step `stop`.
  std::int64_t updates_before(std::int64_t stop) const {
    const auto steps = std::min(stop, end) - start;
    if (steps <= 0) return 0;
    const auto offset = [this](std::int64_t update) {
      return std::llround(static_cast<double>(update) * every);
    };
    auto update =
        static_cast<std::int64_t>(static_cast<double>(steps - 1) / every);  // the last, or next to it
    while (update > 0 && offset(update) > steps - 1) --update;
    while (offset(update + 1) <= steps - 1) ++update;
    const bool ends_between = stop >= end && offset(update) != steps - 1;
    return update + 1 + ends_between;
  }

  /// Whether one of `count` steps from `first` on is an update.
  bool updates_within(std::int64_t first, std::int64_t count) const {
    for (std::int64_t step = first; step < first + count; ++step)
      if (updates_at(step)) return true;
    return false;
  }

  /// The steps at which it begins, makes an update that is not made every step, has its last value, and lets
  /// go.
  std::vector<std::int64_t> turning_points() const {
    std::vector<std::int64_t> steps{start};
    if (end == kNever) return steps;
    if (every > 1)
      for (auto step = start + 1; step < last(); ++step)
        if (updates_at(step)) steps.push_back(step);
    steps.push_back(last());
    steps.push_back(end);
    return steps;
  }

  /// How far `step` is through the window: 0 at its first step, 1 at its last and after.
  double progress(std::int64_t step) const {
    if (step >= last()) return 1;
    if (step <= start) return 0;
    return static_cast<double>(step - start) / static_cast<double>(last() - start);
  }
};

}  // namespace sparsify
