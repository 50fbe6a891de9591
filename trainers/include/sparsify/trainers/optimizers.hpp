// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <torch/torch.h>

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

/// An optimizer over all parameters of a module; biases and norms (one dimension) get no weight decay.
/// Throws Error for an unknown name or values out of range.
std::unique_ptr<torch::optim::Optimizer> make_optimizer(torch::nn::Module& module,
                                                        const OptimizerOptions& options);

/// How the learning rate moves when the recipe does not say: `cosine` or `linear` down to `last`, a part of
/// `base`, or `constant`, after a linear warm-up.
struct LearningRateSchedule {
  std::string name = "cosine";
  double base = 0.1;
  double last = 0;
  int64_t warmup_steps = 0;
  int64_t total_steps = 1;

  /// Throws Error unless the name is known.
  void check() const;
  double at(int64_t step) const;
};

}  // namespace sparsify
