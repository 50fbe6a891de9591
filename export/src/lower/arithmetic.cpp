// SPDX-License-Identifier: Apache-2.0
#include <ATen/ATen.h>

#include "lower/rules.hpp"

namespace sparsify::onnx {
namespace {

at::ScalarType result_type(Call& call) { return call.type(call.node().outputs.at(0)); }

// A constant whose first dimension is that of the example's batch would not fit other batches.
void refuse_fixed_batch(Call& call, int value) {
  const auto& sizes = call.sizes(value);
  if (!call.lowering().is_constant(value) || sizes.empty() || sizes[0] == 1) return;
  for (const auto* other : {"self", "other"})
    if (call.has(other) && call.batch(call.value(other)) == 0 &&
        call.sizes(call.value(other)).size() == sizes.size() && call.sizes(call.value(other))[0] == sizes[0])
      call.refuse(
          "a constant has the example's batch size; make it independent of the batch, or export with a fixed "
          "one");
}

// An operand may be a tensor or a number.
std::string operand(Call& call, const char* argument) {
  if (!call.has(argument)) return call.scalar(call.number(argument, 1), result_type(call));
  const int value = call.value(argument);
  refuse_fixed_batch(call, value);
  return call.lowering().read_as(value, result_type(call));
}

std::string scaled(Call& call, const std::string& tensor, double factor) {
  return factor == 1 ? tensor : call.emit("Mul", {tensor, call.scalar(factor, result_type(call))});
}

void add(Call& call) {
  const auto self = operand(call, "self");
  call.produce("Add", {self, scaled(call, operand(call, "other"), call.number("alpha", 1))});
}

void sub(Call& call) {
  const auto self = operand(call, "self");
  call.produce("Sub", {self, scaled(call, operand(call, "other"), call.number("alpha", 1))});
}

void rsub(Call& call) {
  const auto self = scaled(call, operand(call, "self"), call.number("alpha", 1));
  call.produce("Sub", {operand(call, "other"), self});
}

void mul(Call& call) {
  const auto self = operand(call, "self");
  call.produce("Mul", {self, operand(call, "other")});
}

void div(Call& call) {
  if (call.given("rounding_mode")) call.refuse("only division without rounding is supported");
  const auto self = operand(call, "self");
  call.produce("Div", {self, operand(call, "other")});
}

void pow(Call& call) {
  const auto exponent = call.has("exponent") ? call.read("exponent")
                                             : call.scalar(call.number("exponent", 1), result_type(call));
  const auto base =
      call.has("self") ? call.read("self") : call.scalar(call.number("self", 1), result_type(call));
  call.produce("Pow", {base, exponent});
}

void maximum(Call& call) {
  const auto self = operand(call, "self");
  call.produce("Max", {self, operand(call, "other")});
}

void minimum(Call& call) {
  const auto self = operand(call, "self");
  call.produce("Min", {self, operand(call, "other")});
}

void matmul(Call& call) {
  const auto other = call.has("other") ? "other" : "mat2";
  call.produce("MatMul", {call.read("self"), call.read(other)});
}

void addmm(Call& call) {
  call.produce("Gemm", {call.read("mat1"), call.read("mat2"), call.read("self")},
               {{"alpha", static_cast<float>(call.number("alpha", 1))},
                {"beta", static_cast<float>(call.number("beta", 1))}});
}

}  // namespace

const Rules& arithmetic_rules() {
  static const Rules rules = {
      {"add", add},         {"sub", sub},       {"rsub", rsub},       {"mul", mul},    {"multiply", mul},
      {"div", div},         {"divide", div},    {"true_divide", div}, {"pow", pow},    {"maximum", maximum},
      {"minimum", minimum}, {"matmul", matmul}, {"mm", matmul},       {"bmm", matmul}, {"addmm", addmm}};
  return rules;
}

}  // namespace sparsify::onnx
