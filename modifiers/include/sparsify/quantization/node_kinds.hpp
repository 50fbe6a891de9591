// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include "sparsify/graph/graph.hpp"
#include "sparsify/quantization/clip.hpp"

namespace sparsify {
namespace detail {

inline double number(const GraphNode& node, const std::string& argument, double otherwise) {
  const auto* found = node.find(argument);
  if (!found || !found->constant.isScalar()) return otherwise;
  return found->constant.toScalar().toDouble();
}

inline bool op_is(const GraphNode& node, const std::unordered_set<std::string>& names) {
  return names.count(node.op.compare(0, 6, "aten::") == 0 ? node.op.substr(6) : node.op) > 0;
}

inline bool is_concatenation(const GraphNode& node) { return op_is(node, {"cat", "stack"}); }

/// Gives values of its input on without computing: what was on a grid stays on it.
inline bool passes_values(const GraphNode& node) {
  if (node.op == "aten::constant_pad_nd") return number(node, "value", 0) == 0;
  return op_is(node, {"max_pool2d",
                      "max_pool2d_with_indices",
                      "adaptive_max_pool2d",
                      "flatten",
                      "unflatten",
                      "view",
                      "reshape",
                      "_unsafe_view",
                      "squeeze",
                      "unsqueeze",
                      "permute",
                      "transpose",
                      "t",
                      "slice",
                      "select",
                      "split",
                      "split_with_sizes",
                      "unbind",
                      "expand",
                      "repeat",
                      "dropout",
                      "feature_dropout",
                      "alias",
                      "clone",
                      "detach",
                      "_to_copy",
                      "upsample_nearest2d",
                      "_upsample_nearest_exact2d",
                      "pixel_shuffle",
                      "pixel_unshuffle",
                      "channel_shuffle",
                      "reflection_pad2d",
                      "replication_pad2d"});
}

/// Clips at 0 from below: in integers it is the quantizer itself that does it.
inline bool clips_at_zero(const GraphNode& node) {
  if (node.op == "aten::relu") return true;
  if (node.op == "aten::hardtanh") return number(node, "min_val", -1) == 0;
  if (node.op == "aten::clamp") return number(node, "min", -1) == 0;
  return node.op == "aten::clamp_min" && number(node, "min", -1) == 0;
}

/// Of a ReLU or ReLU6.
inline std::optional<Clip> clip_of(const GraphNode& node) {
  if (node.op == "aten::relu") return Clip{0};
  if (node.op != "aten::hardtanh") return std::nullopt;
  return Clip{static_cast<float>(number(node, "min_val", -1)),
              static_cast<float>(number(node, "max_val", 1))};
}

inline bool is_activation(const GraphNode& node) {
  return clips_at_zero(node) ||
         op_is(node, {"leaky_relu", "silu", "sigmoid", "hardswish", "hardsigmoid", "hardtanh", "gelu", "mish",
                      "elu", "tanh", "softplus", "clamp", "prelu"});
}

/// Height and width of [N, C, H, W].
inline bool are_image_axes(std::vector<std::int64_t> axes) {
  for (auto& axis : axes) axis += axis < 0 ? 4 : 0;
  std::sort(axes.begin(), axes.end());
  return axes == std::vector<std::int64_t>{2, 3};
}

/// The mean over neighbourhoods or over the whole image: integer engines want its input and output on a grid.
inline bool averages(const GraphNode& node) {
  if (op_is(node, {"adaptive_avg_pool2d", "avg_pool2d"})) return true;
  const auto* axes = node.op == "aten::mean" ? node.find("dim") : nullptr;
  return axes && axes->constant.isIntList() && are_image_axes(axes->constant.toIntVector());
}

/// Whether a mean with these axes, or an adaptive pooling to this size, is one over whole images.
inline bool covers_images(bool is_mean, const c10::IValue& axes_or_size) {
  if (!axes_or_size.isIntList()) return false;
  const auto numbers = axes_or_size.toIntVector();
  return is_mean ? are_image_axes(numbers) : numbers == std::vector<std::int64_t>{1, 1};
}

/// The mean over the whole image.
inline bool averages_images(const GraphNode& node) {
  const bool is_mean = node.op == "aten::mean";
  if (!is_mean && node.op != "aten::adaptive_avg_pool2d") return false;
  const auto* argument = node.find(is_mean ? "dim" : "output_size");
  return argument && covers_images(is_mean, argument->constant);
}

/// Never gives a negative value, whatever it reads.
inline bool never_negative(const GraphNode& node) {
  return clips_at_zero(node) || op_is(node, {"sigmoid", "hardsigmoid", "softmax", "abs", "square", "exp"});
}

inline bool keeps_sign(const GraphNode& node) {
  return passes_values(node) || is_concatenation(node) || averages(node) ||
         op_is(node, {"add", "mul", "upsample_bilinear2d"});
}

inline bool is_weighted(const GraphNode& node) {
  return op_is(node, {"conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d",
                      "conv_transpose3d", "convolution", "linear"});
}

}  // namespace detail
}  // namespace sparsify
