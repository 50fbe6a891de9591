// SPDX-License-Identifier: Apache-2.0
#include <ATen/ATen.h>

#include <cmath>

#include "lower/rules.hpp"

namespace sparsify::onnx {
namespace {

// LibTorch lists amounts from the last dimension on, ONNX all beginnings and then all ends.
void pad_by(Call& call, const std::string& mode, double value) {
  const auto given = call.ints(call.given("padding") ? "padding" : "pad");
  Ints amounts(2 * call.rank(), 0);
  for (std::size_t i = 0; i + 1 < given.size(); i += 2) {
    const auto dimension = call.rank() - 1 - static_cast<std::int64_t>(i / 2);
    amounts.at(dimension) = given[i];
    amounts.at(call.rank() + dimension) = given[i + 1];
  }
  const int batch = call.batch(call.input());
  if (batch >= 0 && (amounts[batch] != 0 || amounts[call.rank() + batch] != 0))
    call.refuse("it pads the batch dimension");
  std::vector<std::string> inputs = {call.read(), call.integers("pads", amounts)};
  if (mode == "constant") inputs.push_back(call.scalar(value, call.type(call.input())));
  // Zero lies on every grid, other values need not.
  if (mode != "constant" || value == 0) return call.rearrange("Pad", inputs, {{"mode", mode}}, batch);
  call.produce("Pad", inputs, {{"mode", mode}});
}

void constant_pad(Call& call) { pad_by(call, "constant", call.number("value", 0)); }
void reflection_pad(Call& call) { pad_by(call, "reflect", 0); }
void replication_pad(Call& call) { pad_by(call, "edge", 0); }

void pad(Call& call) {
  const auto mode = call.text("mode", "constant");
  if (mode == "constant") return constant_pad(call);
  if (mode == "reflect") return reflection_pad(call);
  if (mode == "replicate") return replication_pad(call);
  call.refuse("padding mode '" + mode + "' does not exist in ONNX");
}

// Scales reproduce the recorded sizes exactly: engines compute floor(size * scale).
std::string scales(Call& call) {
  const auto& in = call.sizes();
  const auto& out = call.result_sizes();
  auto factors = at::ones({call.rank()}, at::kFloat);
  for (std::int64_t i = 2; i < call.rank(); ++i) {
    auto factor = static_cast<float>(out[i]) / static_cast<float>(in[i]);
    while (std::floor(static_cast<float>(in[i]) * factor) < static_cast<float>(out[i]))
      factor = std::nextafter(factor, 1e9f);
    factors[i] = factor;
  }
  return call.lowering().initializer(call.name() + "/scales", factors);
}

void upsample_nearest(Call& call) {
  const Attributes attributes = {{"mode", std::string("nearest")},
                                 {"coordinate_transformation_mode", std::string("asymmetric")},
                                 {"nearest_mode", std::string("floor")}};
  call.rearrange("Resize", {call.read(), "", scales(call)}, attributes, call.batch(call.input()));
}

void upsample_bilinear(Call& call) {
  const auto* mode = call.flag("align_corners", false) ? "align_corners" : "half_pixel";
  call.produce("Resize", {call.read(), "", scales(call)},
               {{"mode", std::string("linear")}, {"coordinate_transformation_mode", std::string(mode)}});
}

void pixel_shuffle(Call& call) {
  call.rearrange("DepthToSpace", {call.read()},
                 {{"blocksize", call.integer("upscale_factor", 1)}, {"mode", std::string("CRD")}},
                 call.batch(call.input()));
}

}  // namespace

const Rules& spatial_rules() {
  static const Rules rules = {
      {"constant_pad_nd", constant_pad},          {"pad", pad},
      {"reflection_pad1d", reflection_pad},       {"reflection_pad2d", reflection_pad},
      {"replication_pad1d", replication_pad},     {"replication_pad2d", replication_pad},
      {"upsample_nearest1d", upsample_nearest},   {"upsample_nearest2d", upsample_nearest},
      {"upsample_bilinear2d", upsample_bilinear}, {"pixel_shuffle", pixel_shuffle}};
  return rules;
}

}  // namespace sparsify::onnx
