// SPDX-License-Identifier: Apache-2.0
#include <ATen/ATen.h>

#include "lower/rules.hpp"

namespace sparsify::onnx {
namespace {

// One number per channel, in a shape that goes with the input's.
std::string along_channels(Call& call, const char* argument) {
  const int value = call.value(argument);
  if (!call.lowering().is_constant(value))
    call.refuse(std::string("argument '") + argument + "' must be a parameter");
  Ints shape(call.rank() - 1, 1);
  shape[0] = -1;
  const auto& tensor = call.lowering().graph().values[value].tensor;
  return call.lowering().initializer(call.name() + "/" + argument, tensor.detach().reshape(shape));
}

// Each group is an instance of its own. GroupNormalization itself came with opset 18.
void group_norm(Call& call) {
  const auto groups = call.integer("num_groups", 1);
  if (call.batch(call.input()) > 0) call.refuse("expected the batch in the first dimension");
  auto shape = call.sizes();
  shape[0] = 0;  // as in the input
  const auto grouped = call.emit("Reshape", {call.read(), call.integers("groups", {0, groups, -1})});
  const auto constant = [&](const char* what, double value) {
    return call.lowering().initializer(call.name() + "/" + what, at::full({groups}, value, at::kFloat));
  };
  const auto normed = call.emit("InstanceNormalization", {grouped, constant("one", 1), constant("zero", 0)},
                                {{"epsilon", static_cast<float>(call.number("eps", 1e-5))}});
  auto result = call.emit("Reshape", {normed, call.integers("shape", shape)});
  if (call.has("weight")) result = call.emit("Mul", {result, along_channels(call, "weight")});
  if (call.has("bias")) result = call.emit("Add", {result, along_channels(call, "bias")});
  call.result(result, call.batch(call.input()));
}

}  // namespace

const Rules& normalization_rules() {
  static const Rules rules = {{"group_norm", group_norm}};
  return rules;
}

}  // namespace sparsify::onnx
