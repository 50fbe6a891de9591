// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>
#include <torch/optim/optimizer.h>

#include <functional>
#include <initializer_list>
#include <optional>

#include "sparsify/late.hpp"
#include "sparsify/masks/apply.hpp"
#include "sparsify/optimizers/masked_step.hpp"

namespace torch::optim {
struct SGDOptions;
struct SGDParamState;
struct AdamOptions;
struct AdamParamState;
struct AdamWOptions;
struct AdamWParamState;
struct RMSpropOptions;
struct RMSpropParamState;
struct AdagradOptions;
struct AdagradParamState;
}  // namespace torch::optim

namespace sparsify {

/// What modifiers need from an optimizer beyond its public interface; filled where the concrete types are
/// known.
struct OptimizerAccess {
  /// Zeroes the state (momentum, moments) of a parameter where its mask is false.
  std::function<void(const at::Tensor& parameter, const at::Tensor& mask)> mask_state;
  /// Visits all state of a parameter's shape; false when there is state whose meaning is not known.
  std::function<bool(const at::Tensor& parameter, const std::function<void(const at::Tensor&)>& visit)>
      each_state;
  /// Sets the weight decay of one group; false when the optimizer has none.
  std::function<bool(torch::optim::OptimizerOptions& options, double weight_decay)> set_weight_decay;
  /// The weight decay of one group; nothing when the optimizer has none.
  std::function<std::optional<double>(torch::optim::OptimizerOptions& options)> weight_decay;
  /// Steps the optimizer with masks on gradients and weights in one pass; false, and nothing done, where that
  /// does not apply.
  std::function<bool(const Masks& masks)> masked_step;
};

namespace detail {

/// Hands LibTorch's own options that have a weight decay to `visit`; false for others.
template <class Late_, class Visit>
bool visit_with_weight_decay(torch::optim::OptimizerOptions& options, const Visit& visit) {
  namespace optim = torch::optim;
  const auto visited = [&](auto* known) {
    if (known) visit(*known);
    return known != nullptr;
  };
  return visited(dynamic_cast<typename Late<optim::SGDOptions, Late_>::type*>(&options)) ||
         visited(dynamic_cast<typename Late<optim::AdamOptions, Late_>::type*>(&options)) ||
         visited(dynamic_cast<typename Late<optim::AdamWOptions, Late_>::type*>(&options)) ||
         visited(dynamic_cast<typename Late<optim::RMSpropOptions, Late_>::type*>(&options)) ||
         visited(dynamic_cast<typename Late<optim::AdagradOptions, Late_>::type*>(&options));
}

template <class State, class Late_, class Visit>
bool try_visit(torch::optim::OptimizerParamState& state, Visit visit) {
  auto* known = dynamic_cast<typename Late<State, Late_>::type*>(&state);
  if (known) visit(*known);
  return known != nullptr;
}

}  // namespace detail

/// Access to LibTorch's own optimizers; `Net` only delays the lookup of their types to the caller's source
/// file. State of optimizers not listed here is left alone: their masked gradients keep it clean from then
/// on.
template <class Net>
OptimizerAccess make_optimizer_access(torch::optim::Optimizer& optimizer) {
  namespace optim = torch::optim;
  OptimizerAccess access;
  access.mask_state = [&optimizer](const at::Tensor& parameter, const at::Tensor& mask) {
    const auto found = optimizer.state().find(parameter.unsafeGetTensorImpl());
    if (found == optimizer.state().end()) return;
    auto& state = *found->second;
    const auto clear = [&](const at::Tensor& moment) {
      if (moment.defined() && moment.sizes() == mask.sizes()) apply_mask_(moment, mask);
    };
    const auto adam = [&](auto& s) { clear(s.exp_avg()), clear(s.exp_avg_sq()), clear(s.max_exp_avg_sq()); };
    detail::try_visit<optim::SGDParamState, Net>(state, [&](auto& s) { clear(s.momentum_buffer()); }) ||
        detail::try_visit<optim::AdamParamState, Net>(state, adam) ||
        detail::try_visit<optim::AdamWParamState, Net>(state, adam) ||
        detail::try_visit<optim::RMSpropParamState, Net>(state,
                                                         [&](auto& s) { clear(s.momentum_buffer()); }) ||
        detail::try_visit<optim::AdagradParamState, Net>(state, [&](auto& s) { clear(s.sum()); });
  };
  access.masked_step = [&optimizer](const Masks& masks) {
    return detail::MaskedStep<Net>(optimizer, masks).run();
  };
  access.each_state = [&optimizer](const at::Tensor& parameter, const auto& visit) {
    const auto found = optimizer.state().find(parameter.unsafeGetTensorImpl());
    if (found == optimizer.state().end()) return true;
    auto& state = *found->second;
    const auto each = [&](std::initializer_list<at::Tensor> moments) {
      for (const auto& moment : moments)
        if (moment.defined() && moment.sizes() == parameter.sizes()) visit(moment);
    };
    const auto adam = [&](auto& s) { each({s.exp_avg(), s.exp_avg_sq(), s.max_exp_avg_sq()}); };
    return detail::try_visit<optim::SGDParamState, Net>(state,
                                                        [&](auto& s) { each({s.momentum_buffer()}); }) ||
           detail::try_visit<optim::AdamParamState, Net>(state, adam) ||
           detail::try_visit<optim::AdamWParamState, Net>(state, adam) ||
           detail::try_visit<optim::RMSpropParamState, Net>(
               state, [&](auto& s) { each({s.square_avg(), s.momentum_buffer(), s.grad_avg()}); }) ||
           detail::try_visit<optim::AdagradParamState, Net>(state, [&](auto& s) { each({s.sum()}); });
  };
  access.set_weight_decay = [](optim::OptimizerOptions& options, double value) {
    return detail::visit_with_weight_decay<Net>(options, [&](auto& known) { known.weight_decay(value); });
  };
  access.weight_decay = [](optim::OptimizerOptions& options) {
    std::optional<double> value;
    detail::visit_with_weight_decay<Net>(options, [&](auto& known) { value = known.weight_decay(); });
    return value;
  };
  return access;
}

}  // namespace sparsify
