// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <string>
#include <vector>

#include "sparsify/graph/graph.hpp"

// What operators do to channels, by name, and how their arguments are read.

namespace sparsify {
namespace detail {

/// Whether `word` is one of the words of `list`.
inline bool is_among(const std::string& list, const std::string& word) {
  return (" " + list + " ").find(" " + word + " ") != std::string::npos;
}

inline bool works_on_each_element(const std::string& op) {
  return is_among(
      "relu hardtanh clamp clamp_min clamp_max silu leaky_relu hardswish hardsigmoid sigmoid gelu tanh mish "
      "elu celu selu softplus dropout alpha_dropout feature_dropout abs exp sqrt neg square pow clone alias "
      "detach contiguous _to_copy",
      op);
}

inline bool works_on_neighbours(const std::string& op) {
  return is_among(
      "max_pool1d max_pool2d max_pool3d max_pool2d_with_indices avg_pool1d avg_pool2d avg_pool3d "
      "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool2d upsample_nearest1d "
      "upsample_nearest2d upsample_nearest3d _upsample_nearest_exact2d upsample_linear1d upsample_bilinear2d "
      "upsample_bicubic2d upsample_trilinear3d reflection_pad1d reflection_pad2d replication_pad2d",
      op);
}

inline bool combines_elements(const std::string& op) {
  return is_among("add sub mul div maximum minimum", op);
}

inline bool reshapes(const std::string& op) {
  return is_among("flatten unflatten view reshape _unsafe_view unsqueeze squeeze expand expand_as", op);
}

inline std::string short_name(const GraphNode& node) { return node.op.substr(node.op.find("::") + 2); }

/// 2 for "max_pool2d".
inline int spatial_dimensions_of(const std::string& op) { return op[op.find_last_of("123")] - '0'; }

inline std::int64_t product(const std::vector<std::int64_t>& sizes, std::size_t from) {
  std::int64_t all = 1;
  for (; from < sizes.size(); ++from) all *= sizes[from];
  return all;
}

inline std::int64_t integer(const GraphNode& node, const char* argument, std::int64_t otherwise) {
  const auto* found = node.find(argument);
  return found && found->constant.isInt() ? found->constant.toInt() : otherwise;
}

/// A dimension, counted from the front.
inline int dimension(const GraphNode& node, const char* argument, int rank) {
  const auto dim = integer(node, argument, 0);
  return static_cast<int>(dim < 0 ? dim + rank : dim);
}

inline std::vector<int> tensors_of(const GraphNode& node) {
  std::vector<int> tensors;
  for (const auto& argument : node.arguments)
    std::copy_if(argument.values.begin(), argument.values.end(), std::back_inserter(tensors),
                 [](int value) { return value >= 0; });
  return tensors;
}

}  // namespace detail
}  // namespace sparsify
