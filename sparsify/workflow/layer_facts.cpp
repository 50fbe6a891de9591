// SPDX-License-Identifier: Apache-2.0
#include "workflow/layer_facts.hpp"

#include <torch/torch.h>

#include "sparsify/masks/n_of_m.hpp"
#include "sparsify/quantization/float_rules.hpp"

namespace sparsify {
namespace {

void note_quantization(LayerFacts& layer, const QuantizationPlan& plan) {
  for (const auto& weight : plan.weights)
    if (weight.site == layer.name) layer.quantized = true, layer.bits = weight.bits;
  if (layer.quantized) return;
  layer.left = left_float(layer.name, float_rules::kNotReached);
  for (const auto& left : plan.unquantized)
    if (left.site == layer.name) layer.left = left;
}

}  // namespace

double ModelFacts::prunable_sparsity() const {
  double zeros = 0, weights = 0;
  for (const auto& layer : layers)
    zeros += static_cast<double>(layer.zeros), weights += static_cast<double>(layer.weights);
  return weights > 0 ? zeros / weights : 0;
}

double ModelFacts::total_sparsity() const {
  return parameters > 0 ? static_cast<double>(parameter_zeros) / static_cast<double>(parameters) : 0;
}

std::int64_t ModelFacts::quantized_layers() const {
  std::int64_t count = 0;
  for (const auto& layer : layers) count += layer.quantized;
  return count;
}

ModelFacts measure(const Parameters& parameters, const QuantizationPlan* plan) {
  ModelFacts facts;
  for (const auto& parameter : parameters) {
    const auto weights = parameter.tensor.numel();
    const auto zeros = count_zeros(parameter.tensor);
    facts.parameters += weights;
    facts.parameter_zeros += zeros;
    if (!parameter.prunable()) continue;
    LayerFacts layer;
    layer.name = parameter.name;
    layer.sizes = parameter.tensor.sizes().vec();
    layer.weights = weights;
    layer.zeros = zeros;
    layer.two_four = obeys(parameter.tensor, {2, 4});
    if (plan)
      note_quantization(layer, *plan);
    else
      layer.left = left_float(layer.name, float_rules::kNotQuantized);
    facts.layers.push_back(std::move(layer));
  }
  return facts;
}

std::string format_sizes(const std::vector<std::int64_t>& sizes) {
  std::string text;
  for (const auto size : sizes) text += (text.empty() ? "" : "x") + std::to_string(size);
  return text;
}

}  // namespace sparsify
