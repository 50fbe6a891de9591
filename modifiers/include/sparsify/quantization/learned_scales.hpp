// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "sparsify/quantization/fake_quantize.hpp"
#include "sparsify/quantization/quantizers.hpp"

// Learned step size quantization (Esser et al. 2020, arXiv 1902.08153).

namespace sparsify {
namespace detail {

// By how much the gradient of a scale is multiplied: 1 / sqrt(features of one example * highest level above
// zero).
inline double scale_gradient_factor(const at::Tensor& x, const Grid& grid) {
  const auto above = std::max(grid.highest - grid.zero_point, std::int64_t{1});
  const auto features = x.numel() / std::max<std::int64_t>(x.dim() > 1 ? x.size(0) : 1, 1);
  return 1 / std::sqrt(static_cast<double>(features) * static_cast<double>(above));
}

struct RoundToLearned : torch::autograd::Function<RoundToLearned> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x,
                            const at::Tensor& scale, Grid grid) {
    const auto to = round_to(grid, Holds::kValues);
    auto out = at::empty_like(x);
    if (is_plain(x))
      round_plain(x, out, {}, to, nullptr);
    else
      out.copy_((x.to(at::kFloat) / to.step).round_().clamp_(to.first, to.last).mul_(to.scale));
    context->save_for_backward({x, scale});
    context->saved_data["step"] = static_cast<double>(to.step);
    context->saved_data["first"] = static_cast<double>(to.first);
    context->saved_data["last"] = static_cast<double>(to.last);
    context->saved_data["factor"] = scale_gradient_factor(x, grid);
    return out;
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const auto number = [&](const char* name) { return context->saved_data[name].toDouble(); };
    const auto units = saved[0].to(at::kFloat).div(static_cast<float>(number("step")));
    const auto integers = units.round();
    const auto levels = integers.clamp(number("first"), number("last"));
    const auto inside = integers.eq(levels);
    // Inside, what rounding adds; outside, the level that it is clipped to.
    const auto slope = levels.sub(at::where(inside, units, 0.0));
    const auto of_scale = gradients[0].to(at::kFloat).mul(slope).sum().mul(number("factor"));
    return {at::where(inside, gradients[0], 0.0).to(gradients[0].scalar_type()),
            of_scale.to(saved[1].device(), saved[1].scalar_type()),
            {}};
  }
};

}  // namespace detail

/// x rounded to a grid, as by fake_quantize; `scale`, a tensor of no dimensions, receives the gradient of the
/// grid's scale s: for each element round(x / s) - x / s where nothing is clipped, else the level it is
/// clipped to, summed with the incoming gradient and multiplied by 1 / sqrt(N * Q), N features of one
/// example, Q levels above zero.
inline at::Tensor fake_quantize_learned(const at::Tensor& x, const at::Tensor& scale, const Grid& grid) {
  if (x.numel() == 0) return x;
  return detail::RoundToLearned::apply(x, scale, grid);
}

/// Moves the scales of activations down their gradients: SGD with momentum 0.9, apart from the model's
/// optimizer. Zero points stay. The scale in force is that of the quantizer's range.
class LearnedScales {
 public:
  /// Every quantizer that has a range is learned from now on; its range is put on its grid once.
  void begin(Quantizers& quantizers) {
    const auto count = quantizers.ranges().size();
    gradients_.resize(count), velocities_.resize(count, 0);
    for (std::size_t i = 0; i < count; ++i) {
      if (gradients_[i].defined() || quantizers.ranges()[i].batches == 0) continue;
      gradients_[i] = receiver();
      const auto grid = quantizers.grid(static_cast<int>(i));
      set_scale(quantizers, i, grid, grid.scale);
    }
  }

  bool learns(std::size_t quantizer) const {
    return quantizer < gradients_.size() && gradients_[quantizer].defined();
  }
  /// By quantizer, what receives the gradient of its scale; undefined: not learned yet.
  const std::vector<at::Tensor>& gradients() const { return gradients_; }

  /// One step. A gradient that is not finite is left out, and no step more than halves a scale.
  void step(Quantizers& quantizers, double learning_rate) {
    for (std::size_t i = 0; i < gradients_.size(); ++i) {
      if (!gradients_[i].defined() || !gradients_[i].grad().defined()) continue;
      const double gradient = gradients_[i].grad().item<float>();
      gradients_[i].mutable_grad() = at::Tensor();
      if (!std::isfinite(gradient)) continue;
      velocities_[i] = kMomentum * velocities_[i] + gradient;
      const auto grid = quantizers.grid(static_cast<int>(i));
      const double moved = grid.scale - learning_rate * velocities_[i];
      set_scale(quantizers, i, grid, std::max(moved, 0.5 * grid.scale));
    }
  }

  /// Velocities; not a number: not learned yet.
  at::Tensor state() const {
    auto saved = at::full({static_cast<std::int64_t>(velocities_.size())}, NAN, at::kDouble);
    for (std::size_t i = 0; i < velocities_.size(); ++i)
      if (gradients_[i].defined()) saved.mutable_data_ptr<double>()[i] = velocities_[i];
    return saved;
  }
  void load(const at::Tensor& state) {
    const auto saved = state.to(at::kCPU, at::kDouble).contiguous();
    const auto count = static_cast<std::size_t>(saved.numel());
    gradients_.assign(count, {}), velocities_.assign(count, 0);
    for (std::size_t i = 0; i < count; ++i) {
      const double velocity = saved.const_data_ptr<double>()[i];
      if (!std::isnan(velocity)) gradients_[i] = receiver(), velocities_[i] = velocity;
    }
  }

 private:
  static constexpr double kMomentum = 0.9;

  static at::Tensor receiver() { return at::zeros({}, at::kFloat).requires_grad_(true); }

  static void set_scale(Quantizers& quantizers, std::size_t quantizer, const Grid& grid, double scale) {
    const auto& range = quantizers.plan().activations[quantizer].range;
    const double highest = scale * static_cast<double>(grid.highest - grid.zero_point);
    const bool around_middle = range.symmetric && grid.zero_point == range.middle();
    const double lowest =
        around_middle ? -highest : scale * static_cast<double>(grid.lowest - grid.zero_point);
    quantizers.ranges()[quantizer].extent = {static_cast<float>(lowest), static_cast<float>(highest)};
  }

  std::vector<at::Tensor> gradients_;
  std::vector<double> velocities_;
};

}  // namespace sparsify
