// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <utility>

#include "sparsify/modifiers/quantization.hpp"
#include "sparsify/onnx/tensor_parity.hpp"

namespace sparsify::onnx {

/// The trained model as a side of compare_tensors: what its quantizers round while `forward` evaluates it
/// inside `session.evaluate`. `trained`: of the same session; both must outlive the result.
inline StepsOf steps_of_trained(Quantization& quantization, const TrainedQuantization& trained,
                                Forward forward) {
  return [&quantization, &trained, forward = std::move(forward)](const at::Tensor& input) {
    const struct Unwatch {
      Quantization& quantization;
      ~Unwatch() { quantization.watch(nullptr); }
    } unwatch{quantization};
    Steps steps;
    const auto note = [&](const std::string& site, int quantizer, const at::Tensor& rounded) {
      const double scale = trained.activations[quantizer].scale.item<double>();
      steps[site] = at::round(rounded.to(at::kCPU, at::kDouble) / scale).to(at::kShort);
    };
    int of_input = -1;
    quantization.watch([&](const std::string& site, int quantizer, const at::Tensor& rounded) {
      site == "input#0" ? void(of_input = quantizer) : note(site, quantizer, rounded);
    });
    forward(input);
    if (of_input < 0) return steps;
    // As a whole: a model may read its input in slices, each of which it rounds by itself.
    const auto& parameters = trained.activations[of_input];
    const auto& range = trained.plan.activations[of_input].range;
    const Grid grid{parameters.scale.item<float>(), parameters.zero_point.item<std::int64_t>(), range.lowest,
                    range.highest};
    note("input#0", of_input, fake_quantize(input, grid));
    return steps;
  };
}

}  // namespace sparsify::onnx
