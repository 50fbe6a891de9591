// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <torch/optim/optimizer.h>

#include <cstdint>
#include <string>
#include <vector>

#include "sparsify/masks.hpp"
#include "sparsify/optimizer_access.hpp"
#include "sparsify/parameters.hpp"
#include "sparsify/window.hpp"

namespace sparsify {

/// What every hook of a modifier sees: the bound model and optimizer, and where training stands.
struct State {
  Parameters parameters;
  Parameters buffers;
  torch::optim::Optimizer* optimizer = nullptr;
  OptimizerAccess optimizer_access;
  Masks masks;
  std::int64_t step = 0;  ///< optimizer steps done
  std::int64_t steps_per_epoch = 1;
  bool training = true;              ///< false while the session evaluates
  std::vector<std::string> notes{};  ///< what the user should know: layers left out, and why

  double epoch() const { return static_cast<double>(step) / static_cast<double>(steps_per_epoch); }
};

/// Given to a modifier once, when a session binds it.
class Binding {
 public:
  Binding(State& state, std::string owner) : state_(state), owner_(std::move(owner)) {}

  State& state() { return state_; }
  const std::string& owner() const { return owner_; }
  Parameters select(const std::vector<std::string>& targets) const {
    return sparsify::select(state_.parameters, targets);
  }
  StepPlan plan(const Window& window, double update_frequency = -1) const {
    return StepPlan::compile(window, state_.steps_per_epoch, update_frequency);
  }

  /// Declares that this modifier alone sets `what` from step `first` until `end`; two claims that overlap are
  /// an error.
  void claim(const std::string& what, std::int64_t first, std::int64_t end) {
    claims_.push_back({what, first, end, owner_});
  }

  struct Claim {
    std::string what;
    std::int64_t first, end;
    std::string owner;
  };
  const std::vector<Claim>& claims() const { return claims_; }

 private:
  State& state_;
  std::string owner_;
  std::vector<Claim> claims_;
};

}  // namespace sparsify
