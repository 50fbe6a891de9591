// SPDX-License-Identifier: Apache-2.0
#include "quantize/layer_parameters.hpp"

#include <ATen/ATen.h>

#include "sparsify/error.hpp"
#include "sparsify/quantization/weights.hpp"

namespace sparsify::onnx {
namespace {

// Integer biases are kept this small, so that the accumulator they start has room for the products.
constexpr double kLargestBias = 1 << 30;
using detail::kSmallestScale, detail::kStepsOfFreeBias;

// One value per output channel, shaped to multiply the weight.
at::Tensor along(const LayerParameters& layer, const at::Tensor& per_channel) {
  std::vector<std::int64_t> sizes(layer.weight.dim(), 1);
  sizes[layer.axis] = -1;
  return per_channel.reshape(sizes);
}

at::Tensor float_weight(const LayerParameters& layer) {
  if (!layer.factor.defined()) return layer.weight;
  const auto weight = layer.weight.to(at::kDouble);
  if (layer.axis == 0 || layer.groups == 1) return (weight * along(layer, layer.factor)).to(at::kFloat);
  // Transposed convolution: output channels are numbered through the groups of input channels.
  const auto grouped = weight.reshape({layer.groups, weight.size(0) / layer.groups, weight.size(1), -1});
  const auto factor = layer.factor.reshape({layer.groups, 1, weight.size(1), 1});
  return (grouped * factor).reshape(weight.sizes()).to(at::kFloat);
}

struct IntegerLayer {
  at::Tensor weight;      // float64 holding integers
  at::Tensor scale;       // float32, batch-norm included: one per channel, or without dimensions one for all
  at::Tensor bias;        // int32; undefined: none
  at::Tensor bias_scale;  // float32
};

// The integers the fake-quantizer computed: a negative factor flips them, none moves them to other integers.
IntegerLayer trained_integers(const LayerParameters& layer, const at::Tensor& scale, std::int64_t highest) {
  IntegerLayer result;
  const auto integers =
      at::clamp(at::round(layer.weight / along(layer, scale)), -highest, highest).to(at::kDouble);
  if (!layer.factor.defined()) return {integers, scale, {}, {}};
  result.weight = integers * along(layer, at::sign(layer.factor));
  result.scale = (scale.to(at::kDouble) * at::abs(layer.factor)).to(at::kFloat);
  return result;
}

at::Tensor dead_channels(const LayerParameters& layer, const at::Tensor& integers) {
  return integers.transpose(0, layer.axis).flatten(1).abs().amax(1) == 0;
}

// Channels whose scale is 0 (batch-norm multiplies by 0) or too fine for their bias get one that fits the
// bias.
std::int64_t repair_scales(IntegerLayer& result, const LayerParameters& layer, double input_scale,
                           std::int64_t highest) {
  const auto dead = dead_channels(layer, result.weight);
  const auto scale = result.scale.to(at::kDouble);
  const auto bias = layer.bias.defined() ? layer.bias.abs() : at::zeros_like(scale);
  const auto too_fine = at::logical_or(scale<kSmallestScale, bias> scale * (input_scale * kLargestBias));
  if (!too_fine.any().item<bool>()) return 0;
  const auto for_dead = at::where(bias > 0, bias / (input_scale * kStepsOfFreeBias), at::ones_like(bias));
  const auto for_living = at::maximum(bias / (input_scale * kLargestBias), scale);
  const auto repaired =
      at::where(too_fine, at::where(dead, for_dead, for_living), scale).clamp_min(kSmallestScale);
  const auto rescaled = at::logical_and(too_fine, dead.logical_not());
  result.weight = at::round(result.weight * along(layer, scale / repaired)).clamp(-highest, highest);
  result.scale = repaired.to(at::kFloat);
  return rescaled.sum().item<std::int64_t>();
}

IntegerLayer integer_layer(Lowering& lowering, const LayerParameters& layer, int quantizer, int input) {
  const auto scale =
      lowering.quantizers().weight_parameters(quantizer).scale.detach().to(at::kCPU, at::kFloat).flatten();
  if (scale.numel() != layer.weight.size(layer.axis) || !(scale > 0).all().item<bool>())
    throw Error(layer.weight_name + ": expected " + std::to_string(layer.weight.size(layer.axis)) +
                " positive weight scales, one per output channel, got " + std::to_string(scale.numel()));
  const auto highest = lowering.quantizers().weight(quantizer).highest();
  auto result = trained_integers(layer, scale, highest);
  const float input_scale = lowering.quantizers().scale(lowering.quantizer(input)).item<float>();
  // They are the same but for rounding, and 0 where batch-norm multiplies by 0.
  const bool per_tensor = lowering.quantizers().weight(quantizer).per_tensor;
  if (per_tensor) result.scale = result.scale.max();
  if (lowering.options().target == Target::kGpu) {
    if (!per_tensor) result.scale = at::where(result.scale < kSmallestScale, scale, result.scale);
    return result;
  }
  if (!per_tensor) lowering.report().rescaled_channels += repair_scales(result, layer, input_scale, highest);
  if (!layer.bias.defined()) return result;
  result.bias_scale = result.scale * input_scale;  // in float32, as engines multiply them
  result.bias = at::round(layer.bias / result.bias_scale.to(at::kDouble)).to(at::kInt);
  return result;
}

std::string emit_integer_weight(Lowering& lowering, const LayerParameters& layer,
                                const IntegerLayer& integer) {
  const auto& name = layer.weight_name;
  const auto scale = lowering.initializer(name + "/scale", integer.scale);
  const auto zero_point =
      lowering.initializer(name + "/zero_point", at::zeros_like(integer.scale, at::kChar));
  const auto axis = integer.scale.dim() == 0 ? Attributes{} : Attributes{{"axis", std::int64_t{layer.axis}}};
  std::string integers;
  if (lowering.options().target == Target::kGpu && !lowering.options().int8_weights) {
    const auto real = (integer.weight * along(layer, integer.scale.to(at::kDouble))).to(at::kFloat);
    integers = lowering.emit("QuantizeLinear", name + "/quantize",
                             {lowering.initializer(name, real), scale, zero_point}, axis);
  } else {
    integers = lowering.initializer(name, integer.weight.to(at::kChar));
  }
  return lowering.emit("DequantizeLinear", name + "/dequantize", {integers, scale, zero_point}, axis);
}

std::string emit_integer_bias(Lowering& lowering, const LayerParameters& layer, const IntegerLayer& integer) {
  const auto& name = layer.bias_name;
  const auto scale = lowering.initializer(name + "/scale", integer.bias_scale);
  const auto zero_point = lowering.initializer(name + "/zero_point", at::zeros_like(integer.scale, at::kInt));
  const auto axis = integer.scale.dim() == 0 ? Attributes{} : Attributes{{"axis", std::int64_t{0}}};
  return lowering.emit("DequantizeLinear", name + "/dequantize",
                       {lowering.initializer(name, integer.bias), scale, zero_point}, axis);
}

// ONNX Runtime (1.21 and later) also rounds the weights of layers between two quantizers that training left
// alone, unless their bias is computed.
std::string emit_guarding_bias(Lowering& lowering, const LayerParameters& layer) {
  const auto channels = layer.weight.size(layer.axis) * (layer.axis == 0 ? 1 : layer.groups);
  const auto bias = layer.bias.defined() ? layer.bias : at::zeros({channels}, at::kDouble);
  const double largest = bias.abs().max().item<double>();
  const auto scale = at::scalar_tensor(largest > 0 ? largest / kLargestBias : 1., at::kFloat);
  const auto integers = at::round(bias / scale.to(at::kDouble)).to(at::kInt);
  const auto& name = layer.bias_name;
  return lowering.emit("DequantizeLinear", name + "/dequantize",
                       {lowering.initializer(name, integers), lowering.initializer(name + "/scale", scale),
                        lowering.initializer(name + "/zero_point", at::zeros_like(scale, at::kInt))},
                       {});
}

}  // namespace

LayerTensors emit_parameters(Lowering& lowering, const LayerParameters& layer, int input, bool integer_bias) {
  LayerTensors tensors;
  const int quantizer = lowering.quantizers().of_layer(layer.site);
  if (quantizer < 0) {
    tensors.weight = lowering.initializer(layer.weight_name, float_weight(layer));
    if (integer_bias && lowering.options().target == Target::kCpu && lowering.quantizer(input) >= 0)
      tensors.bias = emit_guarding_bias(lowering, layer);
  } else {
    if (lowering.quantizer(input) != lowering.quantizers().weight(quantizer).input)
      throw Error(
          layer.site +
          ": the quantization plan rounds this layer's input otherwise than the recorded graph; was it "
          "made for another model or version of it?");
    if (layer.axis != 0 && layer.groups > 1)
      throw Error(layer.weight_name +
                  ": a grouped transposed convolution cannot have one scale per output channel in ONNX");
    const auto integer = integer_layer(lowering, layer, quantizer, input);
    tensors.weight = emit_integer_weight(lowering, layer, integer);
    tensors.integer = true;
    if (integer.bias.defined())
      tensors.bias = integer_bias
                         ? emit_integer_bias(lowering, layer, integer)
                         : lowering.initializer(layer.bias_name, (integer.bias * integer.bias_scale));
  }
  if (layer.bias.defined() && tensors.bias.empty())
    tensors.bias = lowering.initializer(layer.bias_name, layer.bias.to(at::kFloat));
  return tensors;
}

}  // namespace sparsify::onnx
