// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <torch/torch.h>

#include <cstdint>

#include "sparsify/state_dict.hpp"

namespace sparsify {

/// Exponential moving average of a module's floating-point parameters and buffers (as timm's ModelEmaV2),
/// with a ramp for short runs: update t, counted from 0, decays by min(decay, (1 + t) / (10 + t)).
///
/// The average of a pruned model is not sparse by itself, as it remembers weights from before a mask changed:
/// apply the masks to the tensors of `state_dict()` whenever they change.
class ModelEma {
 public:
  /// Starts from the module's present values, kept in float32 or float64. Throws Error for a decay outside
  /// [0, 1).
  explicit ModelEma(const torch::nn::Module& module, double decay = 0.9999);

  /// shadow = d * shadow + (1 - d) * value, for every entry. Throws Error if the module's entries have
  /// changed.
  void update(const torch::nn::Module& module);
  /// The decay that the next update uses.
  double next_decay() const;

  /// Overwrites the module's floating-point entries; counters keep their values.
  void copy_to(torch::nn::Module& module) const;
  /// Exchanges the module's values and the average: call it before and after an evaluation of the average.
  void swap(torch::nn::Module& module);

  /// The average by name. The tensors are the ones in use, so that masks can be applied to them.
  const StateDict& state_dict() const { return shadow_; }
  int64_t updates() const { return updates_; }
  /// Goes on from a saved average. Throws Error, touching nothing, unless names and shapes are this one's.
  void load(const StateDict& shadow, int64_t updates);

 private:
  StateDict shadow_;
  double decay_;
  int64_t updates_ = 0;
};

}  // namespace sparsify
