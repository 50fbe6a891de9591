// SPDX-License-Identifier: Apache-2.0
#include "lower/rules.hpp"

namespace sparsify::onnx {
namespace {

// A concatenation of tensors on one grid lies on it too.
int common_source(Call& call, const std::vector<int>& parts) {
  for (const int part : parts)
    if (call.lowering().quantizer(part) < 0 ||
        call.lowering().quantizer(part) != call.lowering().quantizer(parts[0]))
      return -1;
  return parts[0];
}

void join(Call& call, std::vector<std::string> parts, std::int64_t axis, int batch) {
  if (axis == batch) call.refuse("it joins along the batch: export with a fixed batch size");
  const auto tensor = call.lowering().emit("Concat", call.name(), std::move(parts), {{"axis", axis}});
  call.lowering().bind(call.node().outputs.at(0), tensor, batch, common_source(call, call.values("tensors")));
}

void cat(Call& call) {
  const int output = call.node().outputs.at(0);
  const auto axis = call.dimension("dim", 0, static_cast<std::int64_t>(call.result_sizes().size()));
  std::vector<std::string> parts;
  for (const int value : call.values("tensors"))
    if (call.sizes(value) != Ints{0}) parts.push_back(call.lowering().read_as(value, call.type(output)));
  join(call, std::move(parts), axis, call.batch());
}

void stack(Call& call) {
  const auto axis = call.dimension("dim", 0, call.rank() + 1);
  const auto axes = call.integers("axes", {axis});
  int batch = -1;
  std::vector<std::string> parts;
  for (const int value : call.values("tensors")) {
    const auto part = call.emit("Unsqueeze", {call.lowering().read(value), axes});
    const bool rounded = call.lowering().options().target == Target::kCpu;
    parts.push_back(rounded ? call.lowering().round(part, call.lowering().quantizer(value)) : part);
    if (call.batch(value) >= 0) batch = call.batch(value) + (call.batch(value) >= axis);
  }
  join(call, std::move(parts), axis, batch);
}

std::vector<std::string> split_into(Call& call, const Ints& extents, std::int64_t axis) {
  if (axis == call.batch(call.input())) call.refuse("it splits the batch: export with a fixed batch size");
  return call.lowering().emit_split(call.name(), {call.read(), call.integers("split", extents)},
                                    extents.size(), {{"axis", axis}});
}

// chunk, split, split_with_sizes: the recorded results know the extents.
void split(Call& call) {
  const auto axis = call.dimension("dim", 0, call.rank());
  Ints extents;
  for (const int output : call.node().outputs) extents.push_back(call.sizes(output).at(axis));
  if (extents.size() == 1) return call.same();
  const auto parts = split_into(call, extents, axis);
  for (std::size_t i = 0; i < parts.size(); ++i)
    call.lowering().bind(call.node().outputs[i], parts[i], call.batch(call.input()), call.input());
}

void unbind(Call& call) {
  const auto axis = call.dimension("dim", 0, call.rank());
  const auto parts = split_into(call, Ints(call.node().outputs.size(), 1), axis);
  const auto axes = call.integers("axes", {axis});
  const int batch = call.batch(call.input());
  for (std::size_t i = 0; i < parts.size(); ++i) {
    auto part = parts[i];
    if (call.lowering().options().target == Target::kCpu)
      part = call.lowering().round(part, call.lowering().quantizer(call.input()));
    call.lowering().bind(call.node().outputs[i], call.emit("Squeeze", {part, axes}),
                         batch > axis ? batch - 1 : batch, call.input());
  }
}

}  // namespace

const Rules& joining_rules() {
  static const Rules rules = {
      {"cat", cat},      {"concat", cat},  {"concatenate", cat},        {"stack", stack},
      {"chunk", split},  {"split", split}, {"split_with_sizes", split}, {"tensor_split", split},
      {"unbind", unbind}};
  return rules;
}

}  // namespace sparsify::onnx
