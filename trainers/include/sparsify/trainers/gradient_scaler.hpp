// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <torch/torch.h>

#include <cstdint>

namespace sparsify {

/// Keeps fp16 gradients above underflow: scales the loss, unscales gradients, skips steps that overflowed,
/// and adapts the scale (as torch.amp.GradScaler). With `enabled` false it does nothing.
class GradientScaler {
 public:
  explicit GradientScaler(bool enabled) : enabled_(enabled) {}

  torch::Tensor scale(const torch::Tensor& loss) const { return enabled_ ? loss * scale_ : loss; }

  /// Gradients as they are without the scale; false when they overflowed and are not to be used.
  bool unscale(torch::optim::Optimizer& optimizer) const {
    bool finite = true;
    if (!enabled_) return finite;
    for (auto& group : optimizer.param_groups())
      for (auto& parameter : group.params())
        if (auto& gradient = parameter.mutable_grad(); gradient.defined()) {
          gradient.div_(scale_);
          finite = finite && gradient.isfinite().all().item<bool>();
        }
    return finite;
  }

  /// Adapts the scale once a step, to what `unscale` said.
  void update(bool finite) {
    if (!finite)
      scale_ /= 2, good_steps_ = 0;
    else if (++good_steps_ % 2000 == 0)
      scale_ *= 2;
  }

  bool enabled() const { return enabled_; }

  /// Scale and number of steps since it last overflowed, as a tensor of two float64.
  torch::Tensor state() const {
    return torch::tensor({scale_, static_cast<double>(good_steps_)}, torch::kDouble);
  }
  void load(const torch::Tensor& state) {
    scale_ = state[0].item<double>();
    good_steps_ = state[1].item<int64_t>();
  }

 private:
  bool enabled_;
  double scale_ = 65536;
  int64_t good_steps_ = 0;
};

}  // namespace sparsify
