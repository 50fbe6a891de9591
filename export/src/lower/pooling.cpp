// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "lower/rules.hpp"

namespace sparsify::onnx {
namespace {

struct Windows {
  Ints kernel, stride, padding, dilation;
  Ints overhang;  ///< how far the last window of ceil_mode reaches beyond the padding, by dimension
};

Windows windows(Call& call) {
  const auto spatial = call.op().find("1d") != std::string::npos ? 1u : 2u;
  Windows all;
  all.kernel = call.ints("kernel_size", spatial, 1);
  all.stride = call.ints("stride").empty() ? all.kernel : call.ints("stride", spatial, 1);
  all.padding = call.ints("padding", spatial, 0);
  all.dilation = call.ints("dilation", spatial, 1);
  const auto& in = call.sizes();
  const auto& out = call.result_sizes();
  for (std::size_t i = 0; i < spatial; ++i) {
    const auto extent = all.dilation[i] * (all.kernel[i] - 1) + 1;
    const auto reached = (out[out.size() - spatial + i] - 1) * all.stride[i] + extent;
    const auto padded = in[in.size() - spatial + i] + 2 * all.padding[i];
    all.overhang.push_back(std::max<std::int64_t>(0, reached - padded));
  }
  return all;
}

// ONNX and LibTorch differ in which windows ceil_mode keeps, so its effect is written out as padding at the
// end.
Ints pads(const Windows& all, bool padded_already = false) {
  Ints begin, end;
  for (std::size_t i = 0; i < all.padding.size(); ++i) {
    begin.push_back(padded_already ? 0 : all.padding[i]);
    end.push_back(begin.back() + all.overhang[i]);
  }
  begin.insert(begin.end(), end.begin(), end.end());
  return begin;
}

bool any(const Ints& values) {
  for (const auto value : values)
    if (value != 0) return true;
  return false;
}

void max_pool(Call& call) {
  const auto all = windows(call);
  call.rearrange("MaxPool", {call.read()},
                 {{"kernel_shape", all.kernel},
                  {"strides", all.stride},
                  {"pads", pads(all)},
                  {"dilations", all.dilation}},
                 call.batch());
}

void max_pool_with_indices(Call& call) {
  const int indices = call.node().outputs.at(1);
  if (indices >= 0 && !call.lowering().graph().consumers(indices).empty())
    call.refuse("its indices are used");
  max_pool(call);
}

std::string pad_with_zeros(Call& call, const Ints& padding) {
  Ints amounts(2 * call.rank(), 0);
  for (std::size_t i = 0; i < padding.size(); ++i) {
    amounts[call.rank() - padding.size() + i] = padding[i];
    amounts[2 * call.rank() - padding.size() + i] = padding[i];
  }
  const auto padded = call.emit("Pad", {call.read(), call.integers("pads", amounts)});
  auto& lowering = call.lowering();  // CPU engines average integers only right behind a quantizer
  return lowering.options().target == Target::kCpu ? lowering.round(padded, lowering.quantizer(call.input()))
                                                   : padded;
}

void avg_pool(Call& call) {
  const auto all = windows(call);
  Attributes attributes = {{"kernel_shape", all.kernel}, {"strides", all.stride}, {"pads", pads(all)}};
  if (call.given("divisor_override")) {
    if (any(all.overhang)) call.refuse("divisor_override together with ceil_mode is not supported");
    double area = 1;
    for (const auto extent : all.kernel) area *= static_cast<double>(extent);
    attributes["count_include_pad"] = std::int64_t{1};
    const auto mean = call.emit("AveragePool", {call.read()}, attributes);
    return call.produce("Mul",
                        {mean, call.scalar(area / static_cast<double>(call.integer("divisor_override", 1)))});
  }
  const bool counted = call.flag("count_include_pad", true) && any(all.padding);
  if (counted && any(all.overhang)) {  // the padding counts, the overhang does not
    attributes["pads"] = pads(all, true);
    return call.produce("AveragePool", {pad_with_zeros(call, all.padding)}, attributes);
  }
  attributes["count_include_pad"] = std::int64_t{counted};
  call.produce("AveragePool", {call.read()}, attributes);
}

void adaptive_avg_pool(Call& call) {
  const auto& in = call.sizes();
  const auto& out = call.result_sizes();
  if (in == out) return call.same();
  Ints kernel;
  bool global = true;
  for (std::size_t i = 2; i < in.size(); ++i) {
    if (in[i] % out[i] != 0)
      call.refuse("an output size of " + std::to_string(out[i]) + " does not divide the input's " +
                  std::to_string(in[i]) + ": its windows differ in size, which no ONNX operator has");
    kernel.push_back(in[i] / out[i]);
    global = global && out[i] == 1;
  }
  if (global) return call.produce("GlobalAveragePool", {call.read()});
  call.produce("AveragePool", {call.read()}, {{"kernel_shape", kernel}, {"strides", kernel}});
}

void adaptive_max_pool(Call& call) {
  const auto& in = call.sizes();
  const auto& out = call.result_sizes();
  Ints kernel;
  for (std::size_t i = 2; i < in.size(); ++i) {
    if (in[i] % out[i] != 0) call.refuse("the output size must divide the input's");
    kernel.push_back(in[i] / out[i]);
  }
  call.rearrange("MaxPool", {call.read()}, {{"kernel_shape", kernel}, {"strides", kernel}}, call.batch());
}

}  // namespace

const Rules& pooling_rules() {
  static const Rules rules = {{"max_pool1d", max_pool},
                              {"max_pool2d", max_pool},
                              {"max_pool2d_with_indices", max_pool_with_indices},
                              {"avg_pool1d", avg_pool},
                              {"avg_pool2d", avg_pool},
                              {"adaptive_avg_pool1d", adaptive_avg_pool},
                              {"adaptive_avg_pool2d", adaptive_avg_pool},
                              {"adaptive_max_pool2d", adaptive_max_pool}};
  return rules;
}

}  // namespace sparsify::onnx
