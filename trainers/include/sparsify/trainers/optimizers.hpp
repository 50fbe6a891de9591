// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <string>

namespace sparsify {

struct OptimizerOptions {
  std::string name = "sgd";  ///< sgd or adamw
  double lr = 0.1;
  double momentum = 0.9;  ///< sgd only
  double weight_decay = 5e-4;
  bool nesterov = true;  ///< sgd only
};

/// Which group of make_optimizer holds the biases.
inline constexpr std::size_t kBiasGroup = 2;

/// An optimizer over all parameters of a module in three groups, as Ultralytics has them: weights, scales of
/// norms, biases. The last two (one dimension) get no weight decay. Throws Error for an unknown name or
/// values out of range.
std::unique_ptr<torch::optim::Optimizer> make_optimizer(torch::nn::Module& module,
                                                        const OptimizerOptions& options);

/// How learning rates move when the recipe does not say: `cosine` or `linear` down to `last`, a part of
/// `base`, or `constant`, after a linear warm-up. All of it goes by the step alone.
struct LearningRateSchedule {
  std::string name = "cosine";
  double base = 0.1;
  double last = 0;
  int64_t warmup_steps = 0;
  int64_t total_steps = 1;
  double warmup_bias_lr = 0;   ///< where the warm-up of biases begins; that of the others begins at 0
  double momentum = 0.9;       ///< where the warm-up of the momentum ends
  double warmup_momentum = 0;  ///< and where it begins; 0: it has none

  /// Throws Error for an unknown name and values out of range.
  void check() const;
  double at(int64_t step) const;
  double of_biases(int64_t step) const;
  double momentum_at(int64_t step) const;
  /// Sets what an optimizer of make_optimizer takes a step with; AdamW's momentum stays as it is.
  void apply(int64_t step, torch::optim::Optimizer& optimizer) const;

 private:
  double warming(double from, double to, int64_t step) const;
};

}  // namespace sparsify
