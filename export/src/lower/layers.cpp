// SPDX-License-Identifier: Apache-2.0
#include <ATen/ATen.h>

#include <algorithm>

#include "lower/rules.hpp"
#include "quantize/layer_parameters.hpp"
#include "sparsify/error.hpp"
#include "sparsify/quantization/float_rules.hpp"

namespace sparsify::onnx {
namespace {

struct BatchNorm {
  at::Tensor factor, shift;  // float64: y = factor * x + shift
};

at::Tensor constant(Call& call, const char* argument, const at::Tensor& fallback) {
  if (!call.has(argument)) return fallback;
  const int value = call.value(argument);
  if (!call.lowering().is_constant(value))
    call.refuse(std::string("argument '") + argument + "' must be a parameter");
  return call.lowering().graph().values[value].tensor.detach().to(at::kCPU, at::kDouble);
}

BatchNorm batch_norm_of(Call& call) {
  if (call.flag("training", false)) call.refuse("the model was recorded in training mode; call eval() first");
  const auto mean = constant(call, "running_mean", {}), variance = constant(call, "running_var", {});
  if (!mean.defined() || !variance.defined()) call.refuse("it has no running statistics");
  const auto factor =
      constant(call, "weight", at::ones_like(mean)) / at::sqrt(variance + call.number("eps", 1e-5));
  return {factor, constant(call, "bias", at::zeros_like(mean)) - mean * factor};
}

std::string bias_name(const std::string& weight) {
  const std::string ending = "weight";
  const bool usual = weight.size() >= ending.size() &&
                     weight.compare(weight.size() - ending.size(), ending.size(), ending) == 0;
  return usual ? weight.substr(0, weight.size() - ending.size()) + "bias" : weight + "/bias";
}

LayerParameters parameters_of(Call& call, const GraphNode* norm, int axis) {
  const auto& graph = call.lowering().graph();
  const auto& weight = graph.values[call.value("weight")];
  LayerParameters layer;
  layer.site = call.node().site;
  layer.weight_name = weight.name.empty() ? call.name() + "/weight" : weight.name;
  layer.weight = weight.tensor.detach().to(at::kCPU, at::kFloat);
  layer.axis = axis;
  layer.groups = call.integer("groups", 1);
  layer.bias = constant(call, "bias", {});
  const auto& own = call.has("bias") ? graph.values[call.value("bias")].name : std::string();
  layer.bias_name = own.empty() ? bias_name(layer.weight_name) : own;
  if (!norm) return layer;
  Call norm_call(call.lowering(), *norm);
  const auto folded = batch_norm_of(norm_call);
  layer.factor = folded.factor;
  layer.bias = layer.bias.defined() ? layer.bias * folded.factor + folded.shift : folded.shift;
  ++call.lowering().report().folded_batch_norms;
  return layer;
}

void check_plan(Call& call, const LayerParameters& layer) {
  const auto& quantizers = call.lowering().quantizers();
  const int index = quantizers.of_layer(layer.site);
  if (index >= 0 && !quantizers.weight(index).batch_norm.empty() && !layer.factor.defined())
    call.refuse("the quantization plan folds '" + quantizers.weight(index).batch_norm +
                "' into it, the graph does not allow that");
}

void note(Call& call, const LayerParameters& layer, bool integer) {
  auto& report = call.lowering().report();
  ++report.layers;
  if (integer) {
    ++report.quantized_layers;
    return report.quantized.push_back(call.name());
  }
  if (!call.lowering().quantizers().active()) return;
  const auto& known = call.lowering().quantizers().unquantized();
  const auto same = [&](const UnquantizedLayer& other) {
    return other.site == layer.weight_name || other.site == call.node().site;
  };
  const auto found = std::find_if(known.begin(), known.end(), same);
  auto left = found == known.end() ? left_float(call.name(), float_rules::kNotPlanned) : *found;
  left.site = call.name();
  report.unquantized.push_back(std::move(left));
}

Ints both_ends(const Ints& begin, const Ints& end) {
  auto all = begin;
  all.insert(all.end(), end.begin(), end.end());
  return all;
}

// Numbers, or "same": LibTorch puts the odd element at the end.
Ints padding(Call& call, const Ints& kernel, const Ints& dilation) {
  const auto* given = call.node().find("padding");
  if (!given || !given->constant.isString()) {
    const auto amounts = call.ints("padding", kernel.size(), 0);
    return both_ends(amounts, amounts);
  }
  Ints begin(kernel.size(), 0), end(kernel.size(), 0);
  if (given->constant.toStringRef() == "same")
    for (std::size_t i = 0; i < kernel.size(); ++i) {
      const auto total = dilation[i] * (kernel[i] - 1);
      begin[i] = total / 2;
      end[i] = total - begin[i];
    }
  return both_ends(begin, end);
}

Attributes convolution_attributes(Call& call) {
  const auto& weight = call.sizes(call.value("weight"));
  const Ints kernel(weight.begin() + 2, weight.end());
  const auto dilation = call.ints("dilation", kernel.size(), 1);
  return {{"kernel_shape", kernel},
          {"strides", call.ints("stride", kernel.size(), 1)},
          {"dilations", dilation},
          {"pads", padding(call, kernel, dilation)},
          {"group", call.integer("groups", 1)}};
}

std::vector<std::string> layer_inputs(Call& call, const LayerTensors& tensors) {
  std::vector<std::string> inputs = {call.read("input"), tensors.weight};
  if (!tensors.bias.empty()) inputs.push_back(tensors.bias);
  return inputs;
}

std::string emit_convolution(Call& call, const GraphNode* norm) {
  const bool transposed = call.op().find("transpose") != std::string::npos;
  auto attributes = convolution_attributes(call);
  if (transposed)
    attributes["output_padding"] =
        call.ints("output_padding", std::get<Ints>(attributes["strides"]).size(), 0);
  const auto* op = transposed ? "ConvTranspose" : "Conv";
  if (call.rank() != static_cast<std::int64_t>(call.sizes(call.value("weight")).size()))
    call.refuse("expected a batch of inputs, got one without a batch dimension");
  if (!call.lowering().is_constant(call.value("weight"))) {
    std::vector<std::string> inputs = {call.read("input"), call.read("weight")};
    if (call.has("bias")) inputs.push_back(call.read("bias"));
    return call.lowering().emit(op, call.name(), inputs, attributes);
  }
  const auto layer = parameters_of(call, norm, transposed ? 1 : 0);
  check_plan(call, layer);
  const auto tensors = emit_parameters(call.lowering(), layer, call.value("input"));
  note(call, layer, tensors.integer);
  return call.lowering().emit(op, call.name(), layer_inputs(call, tensors), attributes);
}

std::string emit_linear(Call& call, const GraphNode* norm) {
  auto& lowering = call.lowering();
  if (!lowering.is_constant(call.value("weight")))
    call.refuse("its weight is computed by the model; use matmul");
  auto layer = parameters_of(call, norm, 0);
  check_plan(call, layer);
  if (call.rank() == 2) {
    const auto tensors = emit_parameters(lowering, layer, call.value("input"));
    note(call, layer, tensors.integer);
    return lowering.emit("Gemm", call.name(), layer_inputs(call, tensors), {{"transB", std::int64_t{1}}});
  }
  layer.weight = layer.weight.t().contiguous();
  layer.axis = 1;
  const auto tensors = emit_parameters(lowering, layer, call.value("input"), false);
  note(call, layer, tensors.integer);
  const auto product = lowering.emit("MatMul", call.name(), {call.read("input"), tensors.weight});
  return tensors.bias.empty() ? product : call.emit("Add", {product, tensors.bias});
}

// The layer, and the batch-norm folded into it when there is one.
void emit_layer(Lowering& lowering, const GraphNode& node, const GraphNode* norm) {
  Call call(lowering, node);
  const auto tensor = node.op == "aten::linear" ? emit_linear(call, norm) : emit_convolution(call, norm);
  lowering.bind((norm ? *norm : node).outputs.at(0), tensor, call.batch(call.input()));
}

void layer(Call& call) { emit_layer(call.lowering(), call.node(), nullptr); }

void batch_norm(Call& call) {
  if (const auto* folded = call.lowering().folded_layer(call.node()))
    return emit_layer(call.lowering(), *folded, &call.node());
  const auto norm = batch_norm_of(call);
  auto& lowering = call.lowering();
  const auto channels = norm.factor.numel();
  const auto parameter = [&](const char* what, const at::Tensor& values) {
    return lowering.initializer(call.name() + "/" + what, values.to(at::kFloat));
  };
  if (call.rank() == 2) {
    const auto scaled = call.emit("Mul", {call.read("input"), parameter("factor", norm.factor)});
    return call.produce("Add", {scaled, parameter("shift", norm.shift)});
  }
  const auto ones = at::ones({channels}, at::kDouble), zeros = at::zeros({channels}, at::kDouble);
  call.produce("BatchNormalization",
               {call.read("input"), parameter("weight", constant(call, "weight", ones)),
                parameter("bias", constant(call, "bias", zeros)),
                parameter("running_mean", constant(call, "running_mean", zeros)),
                parameter("running_var", constant(call, "running_var", ones))},
               {{"epsilon", static_cast<float>(call.number("eps", 1e-5))}});
}

}  // namespace

const Rules& layer_rules() {
  static const Rules rules = {{"conv1d", layer},           {"conv2d", layer},           {"conv3d", layer},
                              {"conv_transpose1d", layer}, {"conv_transpose2d", layer}, {"linear", layer},
                              {"batch_norm", batch_norm}};
  return rules;
}

}  // namespace sparsify::onnx
