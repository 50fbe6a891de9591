// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <map>

#include "lower/rules.hpp"

namespace sparsify::onnx {
namespace {

// An operator that ONNX has under another name.
void unary(Call& call) {
  static const std::map<std::string, std::string> names = {{"relu", "Relu"},
                                                           {"sigmoid", "Sigmoid"},
                                                           {"tanh", "Tanh"},
                                                           {"exp", "Exp"},
                                                           {"log", "Log"},
                                                           {"sqrt", "Sqrt"},
                                                           {"abs", "Abs"},
                                                           {"neg", "Neg"},
                                                           {"erf", "Erf"},
                                                           {"floor", "Floor"},
                                                           {"ceil", "Ceil"},
                                                           {"round", "Round"},
                                                           {"reciprocal", "Reciprocal"}};
  call.produce(names.at(call.op()), {call.read()});
}

std::string bound(Call& call, double value) { return call.scalar(value, call.type(call.input())); }

// Engines leave a clipping to the quantizer after it when that one ends where the clipping does. Where it
// does not, the input is rounded first: rounding and clipping commute, and what computes the input has its
// quantizer.
std::string rounded_input(Call& call, int quantizer) {
  const bool already = call.lowering().quantizer(call.input()) >= 0;
  return already ? call.read() : call.lowering().round(call.read(), quantizer);
}

int quantizer_on_cpu(Call& call) {
  const bool cpu = call.lowering().options().target == Target::kCpu;
  return cpu ? call.lowering().quantizers().of_value(call.node().outputs.at(0)) : -1;
}

void relu(Call& call) {
  const int quantizer = quantizer_on_cpu(call);
  const bool clips = quantizer < 0 || call.lowering().quantizers().lowest(quantizer) == 0;
  call.produce("Relu", {clips ? call.read() : rounded_input(call, quantizer)});
}

void clip(Call& call, double lowest, double highest) {
  const int quantizer = quantizer_on_cpu(call);
  const auto& quantizers = call.lowering().quantizers();
  const bool below = quantizer >= 0 && lowest == 0 && quantizers.lowest(quantizer) == 0;
  if (below && quantizers.highest(quantizer) <= highest * (1 + 1e-6))
    return call.produce("Relu", {call.read()});
  call.produce("Clip", {quantizer < 0 ? call.read() : rounded_input(call, quantizer),
                        std::isinf(lowest) ? "" : bound(call, lowest),
                        std::isinf(highest) ? "" : bound(call, highest)});
}

void relu6(Call& call) { clip(call, 0, 6); }
void hardtanh(Call& call) { clip(call, call.number("min_val", -1), call.number("max_val", 1)); }

void clamp(Call& call) {
  if (call.has("min") || call.has("max")) call.refuse("bounds must be numbers, not tensors");
  clip(call, call.number("min", -INFINITY), call.number("max", INFINITY));
}

void leaky_relu(Call& call) {
  call.produce("LeakyRelu", {call.read()},
               {{"alpha", static_cast<float>(call.number("negative_slope", 0.01))}});
}

void elu(Call& call) {
  if (call.number("scale", 1) != 1 || call.number("input_scale", 1) != 1) call.refuse("expected scales of 1");
  call.produce("Elu", {call.read()}, {{"alpha", static_cast<float>(call.number("alpha", 1))}});
}

void softplus(Call& call) {
  if (call.number("beta", 1) != 1) call.refuse("expected beta 1");
  call.produce("Softplus", {call.read()});
}

void silu(Call& call) {
  const auto input = call.read();
  const auto gate = call.emit("Sigmoid", {input});
  auto& lowering = call.lowering();
  const auto site = call.node().site + ".sigmoid";
  call.produce("Mul", {input, lowering.round(gate, lowering.quantizers().of_site(site), site)});
}

std::string hard_sigmoid_of(Call& call) {
  return call.emit("HardSigmoid", {call.read()}, {{"alpha", 1.0f / 6}});
}

void hardsigmoid(Call& call) { call.produce("HardSigmoid", {call.read()}, {{"alpha", 1.0f / 6}}); }

void hardswish(Call& call) {
  if (call.lowering().options().opset >= 14) return call.produce("HardSwish", {call.read()});
  call.produce("Mul", {call.read(), hard_sigmoid_of(call)});
}

void mish(Call& call) {
  const auto input = call.read();
  call.produce("Mul", {input, call.emit("Tanh", {call.emit("Softplus", {input})})});
}

// x * (1 + erf(x / sqrt 2)) / 2, or the usual approximation by tanh (Hendrycks and Gimpel 2016).
void gelu(Call& call) {
  const auto input = call.read();
  const auto number = [&](double value) { return bound(call, value); };
  std::string inner;
  if (call.text("approximate", "none") == "tanh") {
    const auto square = call.emit("Mul", {input, input});
    const auto slope = call.emit("Add", {call.emit("Mul", {square, number(0.044715)}), number(1)});
    const auto argument = call.emit("Mul", {call.emit("Mul", {input, slope}), number(std::sqrt(2 / M_PI))});
    inner = call.emit("Tanh", {argument});
  } else {
    inner = call.emit("Erf", {call.emit("Mul", {input, number(std::sqrt(0.5))})});
  }
  const auto gate = call.emit("Mul", {call.emit("Add", {inner, number(1)}), number(0.5)});
  call.produce("Mul", {input, gate});
}

void prelu(Call& call) {
  const int slope = call.value("weight");
  auto name = call.lowering().read(slope);
  if (call.sizes(slope).size() == 1 && call.rank() > 2 && call.sizes(slope)[0] > 1) {
    Ints axes;
    for (std::int64_t i = 1; i < call.rank() - 1; ++i) axes.push_back(i);
    name = call.emit("Unsqueeze", {name, call.integers("axes", axes)});
  }
  call.produce("PRelu", {call.read(), name});
}

void softmax(Call& call) {
  call.produce("Softmax", {call.read()}, {{"axis", call.dimension("dim", -1, call.rank())}});
}

void log_softmax(Call& call) {
  call.produce("LogSoftmax", {call.read()}, {{"axis", call.dimension("dim", -1, call.rank())}});
}

}  // namespace

const Rules& activation_rules() {
  static const Rules rules = {{"relu", relu},
                              {"sigmoid", unary},
                              {"tanh", unary},
                              {"exp", unary},
                              {"log", unary},
                              {"sqrt", unary},
                              {"abs", unary},
                              {"neg", unary},
                              {"erf", unary},
                              {"floor", unary},
                              {"ceil", unary},
                              {"round", unary},
                              {"reciprocal", unary},
                              {"relu6", relu6},
                              {"hardtanh", hardtanh},
                              {"clamp", clamp},
                              {"clamp_min", clamp},
                              {"clamp_max", clamp},
                              {"leaky_relu", leaky_relu},
                              {"elu", elu},
                              {"softplus", softplus},
                              {"silu", silu},
                              {"hardsigmoid", hardsigmoid},
                              {"hardswish", hardswish},
                              {"mish", mish},
                              {"gelu", gelu},
                              {"prelu", prelu},
                              {"softmax", softmax},
                              {"log_softmax", log_softmax}};
  return rules;
}

}  // namespace sparsify::onnx
