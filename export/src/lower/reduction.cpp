// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <numeric>

#include "lower/rules.hpp"

namespace sparsify::onnx {
namespace {

Ints reduced_axes(Call& call) {
  auto axes = call.ints("dim");
  if (axes.empty()) {
    axes.resize(call.rank());
    std::iota(axes.begin(), axes.end(), 0);
  }
  for (auto& axis : axes) axis += axis < 0 ? call.rank() : 0;
  std::sort(axes.begin(), axes.end());
  return axes;
}

int batch_after(Call& call, const Ints& axes, bool kept) {
  const int batch = call.batch(call.input());
  if (batch < 0) return -1;
  if (std::count(axes.begin(), axes.end(), batch)) return -1;
  return kept ? batch : batch - static_cast<int>(std::count_if(axes.begin(), axes.end(), [&](auto a) {
                          return a < batch;
                        }));
}

// The mean over all of an image is a pooling, which engines compute with integers.
void mean(Call& call) {
  const auto axes = reduced_axes(call);
  const bool kept = call.flag("keepdim", false);
  const int batch = batch_after(call, axes, kept);
  if (call.rank() == 4 && axes == Ints{2, 3}) {
    if (kept) return call.produce("GlobalAveragePool", {call.read()});
    auto& lowering = call.lowering();
    const auto pooled = call.emit("GlobalAveragePool", {call.read()});
    const auto rounded =
        lowering.options().target == Target::kCpu
            ? lowering.round(pooled, lowering.quantizers().of_value(call.node().outputs.at(0)))
            : pooled;
    return call.result(call.emit("Flatten", {rounded}, {{"axis", std::int64_t{1}}}), batch);
  }
  call.result(call.emit("ReduceMean", {call.read()}, {{"axes", axes}, {"keepdims", std::int64_t{kept}}}),
              batch);
}

void sum(Call& call) {
  const auto axes = reduced_axes(call);
  const bool kept = call.flag("keepdim", false);
  const auto result =
      call.emit("ReduceSum", {call.read(), call.integers("axes", axes)}, {{"keepdims", std::int64_t{kept}}});
  call.result(result, batch_after(call, axes, kept));
}

void amax(Call& call) {
  const auto axes = reduced_axes(call);
  const bool kept = call.flag("keepdim", false);
  call.result(call.emit("ReduceMax", {call.read()}, {{"axes", axes}, {"keepdims", std::int64_t{kept}}}),
              batch_after(call, axes, kept));
}

}  // namespace

const Rules& reduction_rules() {
  static const Rules rules = {{"mean", mean}, {"sum", sum}, {"amax", amax}};
  return rules;
}

}  // namespace sparsify::onnx
