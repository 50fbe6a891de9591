// SPDX-License-Identifier: Apache-2.0
#include <ATen/ATen.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "ir/proto.hpp"
#include "lower/rules.hpp"

namespace sparsify::onnx {
namespace {

// The result's shape with the batch left open: 0 copies the input's first dimension, -1 is inferred.
void reshape_to(Call& call) {
  const auto& in = call.sizes();
  auto shape = call.result_sizes();
  if (in == shape) return call.same();
  const int batch = call.batch(call.input());
  if (batch > 0) call.refuse("the batch is not the first dimension here: export with a fixed batch size");
  if (batch == 0) {
    if (shape.empty()) call.refuse("the batch dimension disappears: export with a fixed batch size");
    shape[0] = shape[0] == in[0] ? 0 : -1;
  }
  call.rearrange("Reshape", {call.read(), call.integers("shape", shape)}, {}, batch);
}

void flatten(Call& call) {
  const auto start = call.dimension("start_dim", 0, call.rank()),
             end = call.dimension("end_dim", -1, call.rank());
  if (call.rank() > 2 && start == 1 && end == call.rank() - 1)
    return call.rearrange("Flatten", {call.read()}, {{"axis", std::int64_t{1}}}, call.batch(call.input()));
  reshape_to(call);
}

int moved_to(const Ints& order, int dimension) {
  for (std::size_t i = 0; i < order.size(); ++i)
    if (order[i] == dimension) return static_cast<int>(i);
  return -1;
}

void transpose_by(Call& call, const Ints& order) {
  call.rearrange("Transpose", {call.read()}, {{"perm", order}}, moved_to(order, call.batch(call.input())));
}

void permute(Call& call) {
  auto order = call.ints("dims");
  for (auto& dimension : order) dimension += dimension < 0 ? call.rank() : 0;
  transpose_by(call, order);
}

void transpose(Call& call) {
  Ints order(call.rank());
  std::iota(order.begin(), order.end(), 0);
  std::swap(order.at(call.dimension("dim0", 0, call.rank())),
            order.at(call.dimension("dim1", 1, call.rank())));
  transpose_by(call, order);
}

void t(Call& call) { call.rank() < 2 ? call.same() : transpose_by(call, {1, 0}); }

void squeeze(Call& call) {
  const auto& in = call.sizes();
  auto wanted = call.ints("dim");
  if (!call.given("dim")) {
    wanted.resize(in.size());
    std::iota(wanted.begin(), wanted.end(), 0);
  }
  const int batch = call.batch(call.input());
  Ints axes;
  int before = 0;
  for (auto axis : wanted) {
    if (axis < 0) axis += call.rank();
    if (in.at(axis) != 1) continue;
    if (axis == batch) call.refuse("it would drop the batch dimension of the example, whose batch size is 1");
    before += axis < batch;
    axes.push_back(axis);
  }
  if (axes.empty()) return call.same();
  call.rearrange("Squeeze", {call.read(), call.integers("axes", axes)}, {}, batch < 0 ? -1 : batch - before);
}

void unsqueeze(Call& call) {
  const auto axis = call.dimension("dim", 0, call.rank() + 1);
  const int batch = call.batch(call.input());
  call.rearrange("Unsqueeze", {call.read(), call.integers("axes", {axis})}, {},
                 batch >= axis ? batch + 1 : batch);
}

void expand(Call& call) {
  if (call.sizes() == call.result_sizes()) return call.same();
  auto shape = call.result_sizes();
  const int batch = call.batch();
  if (batch >= 0) shape[batch] = 1;  // Expand keeps what the input has there
  call.rearrange("Expand", {call.read(), call.integers("shape", shape)}, {}, batch);
}

// A tensor of one number in the input's shape, whatever that is when the model runs.
void fill_with(Call& call, double value) {
  const auto number = call.scalar(value, call.type(call.node().outputs.at(0)));
  call.produce("Expand", {number, call.emit("Shape", {call.read()})});
}

void fill(Call& call) {
  if (call.has("value")) call.refuse("expected a number, not a tensor");
  fill_with(call, call.number("value", 0));
}

void full_like(Call& call) { fill_with(call, call.number("fill_value", 0)); }
void zeros_like(Call& call) { fill_with(call, 0); }
void ones_like(Call& call) { fill_with(call, 1); }

void convert(Call& call) {
  const auto from = call.type(call.input()), to = call.type(call.node().outputs.at(0));
  if (from == to) return call.same();
  call.produce("Cast", {call.read()}, {{"to", std::int64_t{to_onnx_type(to, call.node().site)}}});
}

void dropout(Call& call) {
  if (call.flag("train", false)) call.refuse("the model was recorded in training mode");
  call.same();
}

void same(Call& call) { call.same(); }

void part_of(Call& call, std::int64_t axis, std::int64_t start, std::int64_t end, std::int64_t step) {
  const auto extent = call.sizes().at(axis);
  start = std::clamp<std::int64_t>(start < 0 ? start + extent : start, 0, extent);
  end = std::clamp<std::int64_t>(end < 0 ? end + extent : end, 0, extent);
  if (call.sizes() == call.result_sizes()) return call.same();
  if (axis == call.batch(call.input()))
    call.refuse("it selects from the batch: export with a fixed batch size");
  call.rearrange("Slice",
                 {call.read(), call.integers("starts", {start}), call.integers("ends", {end}),
                  call.integers("axes", {axis}), call.integers("steps", {step})},
                 {}, call.batch(call.input()));
}

void slice(Call& call) {
  part_of(call, call.dimension("dim", 0, call.rank()), call.integer("start", 0),
          call.integer("end", std::numeric_limits<std::int64_t>::max()), call.integer("step", 1));
}

void narrow(Call& call) {
  const auto axis = call.dimension("dim", 0, call.rank());
  auto start = call.integer("start", 0);
  if (start < 0) start += call.sizes().at(axis);
  part_of(call, axis, start, start + call.integer("length", 0), 1);
}

void select(Call& call) {
  const auto axis = call.dimension("dim", 0, call.rank());
  const auto index = call.dimension("index", 0, call.sizes().at(axis));
  const int batch = call.batch(call.input());
  if (axis == batch) call.refuse("it selects from the batch: export with a fixed batch size");
  const auto where = call.lowering().initializer(call.name() + "/index", at::scalar_tensor(index, at::kLong));
  call.rearrange("Gather", {call.read(), where}, {{"axis", axis}}, batch > axis ? batch - 1 : batch);
}

}  // namespace

const Rules& shape_rules() {
  static const Rules rules = {{"view", reshape_to},
                              {"reshape", reshape_to},
                              {"_unsafe_view", reshape_to},
                              {"view_as", reshape_to},
                              {"reshape_as", reshape_to},
                              {"unflatten", reshape_to},
                              {"flatten", flatten},
                              {"permute", permute},
                              {"transpose", transpose},
                              {"swapaxes", transpose},
                              {"t", t},
                              {"squeeze", squeeze},
                              {"unsqueeze", unsqueeze},
                              {"expand", expand},
                              {"expand_as", expand},
                              {"to", convert},
                              {"_to_copy", convert},
                              {"type_as", convert},
                              {"contiguous", same},
                              {"detach", same},
                              {"alias", same},
                              {"clone", same},
                              {"identity", same},
                              {"fill", fill},
                              {"full_like", full_like},
                              {"zeros_like", zeros_like},
                              {"empty_like", zeros_like},
                              {"ones_like", ones_like},
                              {"dropout", dropout},
                              {"feature_dropout", dropout},
                              {"alpha_dropout", dropout},
                              {"slice", slice},
                              {"narrow", narrow},
                              {"select", select}};
  return rules;
}

}  // namespace sparsify::onnx
