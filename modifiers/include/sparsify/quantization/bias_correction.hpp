// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/tensor.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "sparsify/graph/forward_mode.hpp"
#include "sparsify/graph/sites.hpp"
#include "sparsify/quantization/quantizers.hpp"

namespace sparsify {

/// Bias correction (Nagel et al. 2019, arXiv 1906.04721, section 4.2, with data): rounding moves the mean of
/// a layer's output channels; their biases take that back. Watches forward passes in floating point, in which
/// it computes every quantized layer once more on rounded input and weight, and then corrects all of them.
///
///   BiasCorrection correction(quantizers, parameters, buffers);
///   { const ModeGuard guard(correction); model.forward(images); }   // in eval mode, any number of batches
///   const auto left = correction.correct();
class BiasCorrection : public ForwardMode {
 public:
  /// All three must outlive it; the quantizers have their ranges.
  BiasCorrection(const Quantizers& quantizers, const Parameters& parameters, const Parameters& buffers)
      : quantizers_(quantizers), parameters_(parameters), buffers_(buffers), names_(parameters, buffers) {}

  /// Before every pass.
  void begin() { sites_.emplace(names_); }

  void call(const c10::OperatorHandle& op, c10::DispatchKeySet keys, c10::Stack* stack) override {
    if (!sites_) begin();
    const auto& facts = operators_(op);
    if (facts.decompose) return run_inside(op, keys, stack);
    const c10::impl::ExcludeDispatchKeyGuard without_mode(kModeKey);
    const auto count = op.schema().arguments().size();
    const c10::Stack arguments(stack->end() - static_cast<std::ptrdiff_t>(count), stack->end());
    const auto weight = sites_->enter(facts, arguments.data());
    const int layer = weight && !sites_->is_foreign() ? quantizers_.weight_at(sites_->here()) : -1;
    run_below(op, stack);
    const auto returns = op.schema().returns().size();
    for (std::size_t i = stack->size() - returns; i < stack->size(); ++i)
      each_tensor((*stack)[i], [&](const at::Tensor& output) {
        if (!output.defined()) return;
        if (!facts.is_view) sites_->note_computed(output);
        if (i == stack->size() - returns) sites_->leave(facts, output);
      });
    if (layer >= 0) measure(op, facts, weight, arguments, layer, stack->back().toTensor());
  }

  /// Corrects biases, or the beta of batch-norms. Returns the layers that have neither, and are left as they
  /// are. Throws Error when no pass has been watched.
  std::vector<std::string> correct() const {
    if (errors_.empty()) throw Error("bias correction: no quantized layer was seen in a forward pass");
    const at::NoGradGuard no_grad;
    std::vector<std::string> left;
    for (const auto& [layer, error] : errors_) {
      const auto& entry = quantizers_.plan().weights[layer];
      const auto name = entry.batch_norm.empty() ? entry.bias : Quantizers::batch_norm_tensor(entry, "bias");
      const auto* bias = find_named(parameters_, name);
      if (!bias) {
        left.push_back(entry.site);
        continue;
      }
      const auto folded = fold(entry, error.sum.numel(), parameters_, buffers_);
      const auto factor = at::tensor(folded.k, at::kDouble);
      const auto mean = error.sum.cpu() / static_cast<double>(error.passes);
      bias->tensor.detach().sub_((mean * factor).to(bias->tensor.options()));
    }
    return left;
  }

 private:
  struct LayerError {
    at::Tensor sum;  ///< of the batches' means, float64, by output channel
    std::int64_t passes = 0;
  };

  void measure(const c10::OperatorHandle& op, const OperatorFacts& facts, const TensorNames::Found& weight,
               c10::Stack arguments, int layer, const at::Tensor& floating) {
    const auto& entry = quantizers_.plan().weights[layer];
    const auto& parameter = weight.named->tensor;
    const auto scales = layer_scales(quantizers_, layer, parameter, parameters_, buffers_);
    const auto rounded = fake_quantize_weight(parameter, scales, entry.highest());
    arguments[facts.weight_argument] = weight.transposed ? rounded.t() : rounded;
    auto& input = arguments[facts.weight_argument - 1];
    input = fake_quantize(input.toTensor(), quantizers_.grid(entry.input));
    run_below(op, &arguments);
    const auto difference = arguments.back().toTensor().to(at::kDouble).sub(floating);
    const std::int64_t channels = difference.dim() - (facts.short_name == "conv2d" ? 3 : 1);
    std::vector<std::int64_t> others;
    for (std::int64_t d = 0; d < difference.dim(); ++d)
      if (d != channels) others.push_back(d);
    const auto mean = difference.mean(others);
    auto& error = errors_[layer];
    error.sum = error.sum.defined() ? error.sum + mean : mean;
    ++error.passes;
  }

  const Quantizers& quantizers_;
  const Parameters& parameters_;
  const Parameters& buffers_;
  TensorNames names_;
  std::optional<SiteNames> sites_;
  Operators operators_;
  std::map<int, LayerError> errors_;  ///< by layer
};

}  // namespace sparsify
