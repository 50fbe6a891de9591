// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>
#include <vector>

#include "sparsify/quantization/fake_quantize.hpp"
#include "sparsify/quantization/norm_kernel.hpp"
#include "sparsify/quantization/rows.hpp"

namespace sparsify {

/// A batch norm and what follows it, to be computed as one.
struct NormCall {
  at::Tensor running_mean, running_var;  ///< float32, updated when `training`
  bool training = true;                  ///< with the batch's statistics instead of the running ones
  double momentum = 0.1;
  double eps = 1e-5;
  at::Tensor factor{};  ///< float32 [C]: the real input is the given one times this; undefined: 1
  Clip clip{};          ///< of the ReLU that follows
  bool rounds = false;  ///< then rounding to `grid`
  Grid grid{};
  Holds holds = Holds::kValues;
  Extent* seen = nullptr;  ///< what was rounded is merged into it
};

namespace detail {

inline bool is_float_vector(const at::Tensor& x) {
  return x.defined() && x.device().is_cpu() && x.scalar_type() == at::kFloat && x.is_contiguous();
}

/// One number for each channel of a batch norm.
using PerChannel = std::vector<float>;

inline PerChannel per_channel(const at::Tensor& x, std::int64_t channels, float otherwise) {
  if (!x.defined()) return PerChannel(channels, otherwise);
  return {x.const_data_ptr<float>(), x.const_data_ptr<float>() + channels};
}

struct FusedBatchNorm : torch::autograd::Function<FusedBatchNorm> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x,
                            const at::Tensor& gamma, const at::Tensor& beta, const NormCall& call) {
    const auto rows = rows_of(x);
    const auto channels = rows.channels;
    const auto factor = per_channel(call.factor, channels, 1), scale = per_channel(gamma, channels, 1),
               offset = per_channel(beta, channels, 0);
    PerChannel mean(channels), inverse(channels);  // of the given input, which `factor` makes the real one
    call.training ? measure(x, rows, factor, call, mean, inverse) : recall(factor, call, mean, inverse);
    PerChannel a(channels), b(channels);
    for (std::int64_t c = 0; c < channels; ++c) {
      a[c] = inverse[c] * scale[c];
      b[c] = offset[c] - mean[c] * a[c];
    }
    const auto marks = at::empty({rows.count * rows.bytes_of_marks()}, x.options().dtype(at::kByte));
    const auto out = at::empty_like(x);
    const Behind behind{call.clip, call.rounds, round_to(call.grid, call.holds)};
    with_elements(x, [&](auto kind) {
      using T = decltype(kind);
      const auto seen = normalise(elements<T>(x), mutable_elements<T>(out),
                                  marks.mutable_data_ptr<std::uint8_t>(), rows, a.data(), b.data(), behind);
      if (call.seen && call.rounds) call.seen->merge(seen);
    });
    auto statistics = at::empty({3, channels}, x.options().dtype(at::kFloat));
    std::copy(mean.begin(), mean.end(), statistics.mutable_data_ptr<float>());
    std::copy(inverse.begin(), inverse.end(), statistics.mutable_data_ptr<float>() + channels);
    std::copy(a.begin(), a.end(), statistics.mutable_data_ptr<float>() + 2 * channels);
    context->save_for_backward({x, marks, statistics});
    context->saved_data["training"] = call.training;
    context->saved_data["gamma"] = gamma.defined();
    context->saved_data["beta"] = beta.defined();
    context->saved_data["step"] =
        call.rounds && call.holds == Holds::kIntegers ? static_cast<double>(call.grid.scale) : 1.0;
    return out;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const auto& x = saved[0];
    const auto rows = rows_of(x);
    const auto channels = rows.channels;
    const auto gradient = in_order(gradients[0], x.sizes(), x.strides());
    const auto* mean = saved[2].const_data_ptr<float>();
    const auto* inverse = mean + channels;
    const auto* a = inverse + channels;
    const double to_values = 1 / context->saved_data["step"].toDouble();
    const bool training = context->saved_data["training"].toBool();
    const auto out = at::empty_like(x);
    auto to_gamma = at::empty({channels}, saved[2].options()),
         to_beta = at::empty({channels}, saved[2].options());
    with_elements(x, [&](auto kind) {
      using T = decltype(kind);
      const auto* marks = saved[1].const_data_ptr<std::uint8_t>();
      const auto sums = gradient_moments(elements<T>(x), elements<T>(gradient), marks, rows, mean);
      // d x = a (g - mean(g) - n mean(g n)) with the normalised input n (Ioffe and Szegedy 2015, arXiv
      // 1502.03167).
      PerChannel of_gradient(channels), of_input(channels, 0), constant(channels, 0);
      const auto count = static_cast<double>(rows.values_per_channel());
      for (std::int64_t c = 0; c < channels; ++c) {
        const double sum = sums[c] * to_values, with_normalised = sums[channels + c] * inverse[c] * to_values;
        to_beta.mutable_data_ptr<float>()[c] = static_cast<float>(sum);
        to_gamma.mutable_data_ptr<float>()[c] = static_cast<float>(with_normalised);
        of_gradient[c] = static_cast<float>(a[c] * to_values);
        if (!training) continue;
        const double slope = a[c] * with_normalised / count * inverse[c];
        of_input[c] = static_cast<float>(-slope);
        constant[c] = static_cast<float>(slope * mean[c] - a[c] * sum / count);
      }
      input_gradient(elements<T>(x), elements<T>(gradient), marks, mutable_elements<T>(out), rows,
                     of_gradient.data(), of_input.data(), constant.data());
    });
    return {out,
            context->saved_data["gamma"].toBool() ? to_gamma : at::Tensor(),
            context->saved_data["beta"].toBool() ? to_beta : at::Tensor(),
            {}};
  }

 private:
  // Of the batch; the running statistics move towards those of the real input.
  static void measure(const at::Tensor& x, const Rows& rows, const PerChannel& factor, const NormCall& call,
                      PerChannel& mean, PerChannel& inverse) {
    const auto count = static_cast<double>(rows.values_per_channel());
    PerChannel shift(rows.channels);
    std::vector<double> sums;
    with_elements(x, [&](auto kind) {
      using T = decltype(kind);
      for (std::int64_t c = 0; c < rows.channels; ++c)
        shift[c] = widen(elements<T>(x)[rows.along ? c : c * rows.length]);
      sums = moments(elements<T>(x), rows, shift.data());
    });
    auto running_mean = call.running_mean, running_var = call.running_var;
    auto* old_mean = running_mean.mutable_data_ptr<float>();
    auto* old_var = running_var.mutable_data_ptr<float>();
    for (std::int64_t c = 0; c < rows.channels; ++c) {
      const double off = sums[c] / count, f = factor[c];
      const double given_mean = shift[c] + off;
      const double variance = std::max(0.0, sums[rows.channels + c] / count - off * off) * f * f;
      mean[c] = static_cast<float>(given_mean);
      inverse[c] = static_cast<float>(f / std::sqrt(variance + call.eps));
      const auto move = [&](float& old, double now) {
        old = static_cast<float>((1 - call.momentum) * old + call.momentum * now);
      };
      move(old_mean[c], given_mean * f);
      move(old_var[c], variance * count / (count - 1));
    }
  }

  static void recall(const PerChannel& factor, const NormCall& call, PerChannel& mean, PerChannel& inverse) {
    const auto* running_mean = call.running_mean.const_data_ptr<float>();
    const auto* running_var = call.running_var.const_data_ptr<float>();
    for (std::size_t c = 0; c < mean.size(); ++c) {
      const double f = factor[c];
      mean[c] = static_cast<float>(running_mean[c] / f);
      inverse[c] = static_cast<float>(f / std::sqrt(running_var[c] + call.eps));
    }
  }
};

}  // namespace detail

/// Whether fused_batch_norm takes this input: float32 or bfloat16 [N, C, H, W] on the CPU, plain or
/// channels_last, with more than one value per channel, and everything per channel in float32. Absent gamma
/// and beta: undefined.
inline bool can_fuse(const at::Tensor& x, const at::Tensor& gamma, const at::Tensor& beta,
                     const NormCall& call) {
  const auto rows = detail::rows_of(x);
  const auto fits = [&](const at::Tensor& vector) {
    return detail::is_float_vector(vector) && vector.numel() == rows.channels;
  };
  return rows.count > 0 && rows.values_per_channel() > 1 && fits(call.running_mean) &&
         fits(call.running_var) && (!gamma.defined() || fits(gamma)) && (!beta.defined() || fits(beta));
}

/// Batch norm, then a ReLU and rounding as `call` says: what LibTorch's operators and fake_quantize give one
/// after another, up to the order of sums (a bfloat16 result is rounded once, theirs after every operator).
inline at::Tensor fused_batch_norm(const at::Tensor& x, const at::Tensor& gamma, const at::Tensor& beta,
                                   const NormCall& call) {
  return detail::FusedBatchNorm::apply(x, gamma, beta, call);
}

}  // namespace sparsify
