// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros_like.h>
#include <torch/optim/optimizer.h>

#include <cmath>
#include <memory>
#include <typeinfo>
#include <vector>

#include "sparsify/late.hpp"
#include "sparsify/masks.hpp"
#include "sparsify/optimizers/masked_spans.hpp"

namespace torch::optim {
class SGD;
struct SGDOptions;
struct SGDParamState;
class AdamW;
struct AdamWOptions;
struct AdamWParamState;
}  // namespace torch::optim

namespace sparsify {
namespace detail {

/// Steps LibTorch's SGD and AdamW with masks in one pass over memory; the optimizer's state is its own, and
/// is what its own `step` would have made of masked gradients. `Net` delays the lookup of types.
template <class Net>
class MaskedStep {
  using SGD = typename Late<torch::optim::SGD, Net>::type;
  using SGDOptions = typename Late<torch::optim::SGDOptions, Net>::type;
  using SGDState = typename Late<torch::optim::SGDParamState, Net>::type;
  using AdamW = typename Late<torch::optim::AdamW, Net>::type;
  using AdamWOptions = typename Late<torch::optim::AdamWOptions, Net>::type;
  using AdamWState = typename Late<torch::optim::AdamWParamState, Net>::type;

 public:
  MaskedStep(torch::optim::Optimizer& optimizer, const Masks& masks)
      : optimizer_(optimizer), masks_(masks.by_parameter()) {}

  /// False, and nothing done, where the one pass does not apply: another optimizer, device, type or layout.
  bool run() {
    at::NoGradGuard no_grad;
    const bool sgd = typeid(optimizer_) == typeid(SGD), adamw = typeid(optimizer_) == typeid(AdamW);
    if (!sgd && !adamw) return false;
    for (auto& group : optimizer_.param_groups())
      for (auto& parameter : group.params())
        if (parameter.grad().defined() && !(sgd ? fits_sgd(group, parameter) : fits_adamw(group, parameter)))
          return false;
    for (auto& group : optimizer_.param_groups())
      for (auto& parameter : group.params())
        if (parameter.grad().defined()) sgd ? step_by_sgd(group, parameter) : step_by_adamw(group, parameter);
    return true;
  }

 private:
  using Group = torch::optim::OptimizerParamGroup;

  at::Tensor mask_of(const at::Tensor& parameter) const {
    const auto found = masks_.find(parameter.unsafeGetTensorImpl());
    return found == masks_.end() ? at::Tensor() : found->second;
  }

  template <class State>
  State* state_of(const at::Tensor& parameter) const {
    const auto found = optimizer_.state().find(parameter.unsafeGetTensorImpl());
    return found == optimizer_.state().end() ? nullptr : static_cast<State*>(found->second.get());
  }

  static bool fits(const at::Tensor& parameter, const at::Tensor& other) {
    return !other.defined() || (other.device().is_cpu() && other.layout() == at::kStrided &&
                                other.scalar_type() == at::kFloat && same_layout(parameter, other));
  }
  bool fits(const at::Tensor& parameter) const {
    const at::Tensor mask = mask_of(parameter);
    return fits(parameter, parameter) && fits(parameter, parameter.grad()) &&
           (!mask.defined() || same_layout(parameter, mask));
  }
  bool fits_sgd(Group&, const at::Tensor& parameter) const {
    const auto* state = state_of<SGDState>(parameter);
    return fits(parameter) && (!state || fits(parameter, state->momentum_buffer()));
  }
  bool fits_adamw(Group& group, const at::Tensor& parameter) const {
    if (static_cast<const AdamWOptions&>(group.options()).amsgrad() || !fits(parameter)) return false;
    const auto* state = state_of<AdamWState>(parameter);
    return !state || (fits(parameter, state->exp_avg()) && fits(parameter, state->exp_avg_sq()));
  }

  MaskedSpan span_of(const at::Tensor& parameter) const {
    const at::Tensor mask = mask_of(parameter);
    return {parameter.mutable_data_ptr<float>(),
            parameter.grad().const_data_ptr<float>(),
            mask.defined() ? mask.const_data_ptr<bool>() : nullptr,
            nullptr,
            nullptr,
            parameter.numel()};
  }

  void step_by_sgd(Group& group, const at::Tensor& parameter) {
    const auto& options = static_cast<const SGDOptions&>(group.options());
    auto span = span_of(parameter);
    SGDNumbers numbers{static_cast<float>(options.lr()),
                       static_cast<float>(options.momentum()),
                       static_cast<float>(1 - options.dampening()),
                       static_cast<float>(options.weight_decay()),
                       options.nesterov(),
                       false};
    if (options.momentum() != 0) {
      auto* state = state_of<SGDState>(parameter);
      if (!state) {
        auto made = std::make_unique<SGDState>();
        made->momentum_buffer(at::empty_like(parameter.detach()));
        state = made.get();
        optimizer_.state()[parameter.unsafeGetTensorImpl()] = std::move(made);
        numbers.first_step = true;
      }
      span.first = state->momentum_buffer().template mutable_data_ptr<float>();
    }
    step_sgd(span, numbers);
  }

  void step_by_adamw(Group& group, const at::Tensor& parameter) {
    const auto& options = static_cast<const AdamWOptions&>(group.options());
    auto* state = state_of<AdamWState>(parameter);
    if (!state) {
      auto made = std::make_unique<AdamWState>();
      made->step(0);
      made->exp_avg(at::zeros_like(parameter.detach()));
      made->exp_avg_sq(at::zeros_like(parameter.detach()));
      state = made.get();
      optimizer_.state()[parameter.unsafeGetTensorImpl()] = std::move(made);
    }
    state->step(state->step() + 1);
    const auto steps = static_cast<double>(state->step());
    const auto beta1 = std::get<0>(options.betas()), beta2 = std::get<1>(options.betas());
    auto span = span_of(parameter);
    span.first = state->exp_avg().template mutable_data_ptr<float>();
    span.second = state->exp_avg_sq().template mutable_data_ptr<float>();
    step_adamw(span,
               {static_cast<float>(1 - options.lr() * options.weight_decay()), static_cast<float>(beta1),
                static_cast<float>(1 - beta1), static_cast<float>(beta2), static_cast<float>(1 - beta2),
                static_cast<float>(std::sqrt(1 - std::pow(beta2, steps))), static_cast<float>(options.eps()),
                static_cast<float>(options.lr() / (1 - std::pow(beta1, steps)))});
  }

  torch::optim::Optimizer& optimizer_;
  std::unordered_map<const c10::TensorImpl*, at::Tensor> masks_;
};

}  // namespace detail
}  // namespace sparsify
