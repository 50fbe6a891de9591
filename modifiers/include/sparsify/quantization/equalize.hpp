// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/grad_mode.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "sparsify/graph/readers.hpp"
#include "sparsify/quantization/node_kinds.hpp"
#include "sparsify/quantization/weights.hpp"

namespace sparsify {

/// Two layers of which the second alone reads the first, through nothing but what s * f(x) = f(s * x) holds
/// for.
struct EqualizedPair {
  std::string first, second;  ///< names of their weights
};

namespace detail {

/// Cross-layer equalization of the pairs of one recorded graph.
class Equalizer {
 public:
  explicit Equalizer(const Graph& graph) : graph_(graph), readers_(graph) {
    for (int i = 0; i < static_cast<int>(graph.nodes.size()); ++i) find_pair(i);
  }

  std::vector<EqualizedPair> run() {
    constexpr int kSweeps = 40;
    constexpr double kEnough = 1e-3;
    const at::NoGradGuard no_grad;
    for (int sweep = 0; sweep < kSweeps; ++sweep) {
      double largest = 0;
      for (const auto& pair : pairs_) largest = std::max(largest, equalize(pair));
      if (largest < kEnough) break;
    }
    std::vector<EqualizedPair> names;
    for (const auto& pair : pairs_)
      names.push_back({name_of(graph_.nodes[pair.first]), name_of(graph_.nodes[pair.second])});
    return names;
  }

 private:
  struct Pair {
    int first, batch_norm, second;  ///< nodes; batch_norm -1: none
  };

  // A parameter that this node alone reads.
  bool has_own(const GraphNode& node, const char* argument) const {
    const int value = node.value(argument);
    return value >= 0 && graph_.values[value].is_parameter && graph_.values[value].producer < 0 &&
           readers_.of(value).size() == 1;
  }
  bool has_none(const GraphNode& node, const char* argument) const { return node.value(argument) < 0; }
  bool is_layer(const GraphNode& node) const {
    return op_is(node, {"conv2d", "linear"}) && has_own(node, "weight");
  }
  const std::string& name_of(const GraphNode& node) const { return graph_.values[node.value("weight")].name; }
  at::Tensor own(int node, const char* argument) const {
    const int value = graph_.nodes[node].value(argument);
    return value < 0 ? at::Tensor() : graph_.values[value].tensor.detach();
  }

  void find_pair(int first) {
    const auto& layer = graph_.nodes[first];
    if (!is_layer(layer) || !(has_own(layer, "bias") || has_none(layer, "bias"))) return;
    Pair pair{first, -1, -1};
    int value = layer.outputs.front();
    int next = readers_.sole(value);
    if (next >= 0 && graph_.nodes[next].op == "aten::batch_norm" &&
        graph_.nodes[next].value("input") == value) {
      const auto& norm = graph_.nodes[next];
      if (!has_own(norm, "weight") || !has_own(norm, "bias") || norm.value("running_var") < 0) return;
      pair.batch_norm = next;
      value = norm.outputs.front();
      next = readers_.sole(value);
    }
    while (next >= 0 && hands_scales_on(graph_.nodes[next], value)) {
      value = graph_.nodes[next].outputs.front();
      next = readers_.sole(value);
    }
    if (next < 0 || !is_layer(graph_.nodes[next]) || graph_.nodes[next].value("input") != value) return;
    pair.second = next;
    const auto channels = own(first, "weight").size(0);
    if (own(next, "weight").size(1) * groups(next) == channels) pairs_.push_back(pair);
  }

  // f(s * x) = s * f(x) for s > 0 in each channel.
  bool hands_scales_on(const GraphNode& node, int value) const {
    if (node.arguments.empty() || node.arguments.front().values != std::vector<int>{value}) return false;
    if (op_is(node, {"relu", "leaky_relu", "max_pool2d", "dropout", "feature_dropout"}) || averages(node))
      return true;
    // [N, C, 1, 1] to [N, C]
    const auto& before = graph_.values[value].sizes;
    const auto& after = graph_.values[node.outputs.front()].sizes;
    return op_is(node, {"flatten", "view", "reshape", "squeeze"}) && before.size() == 4 &&
           after.size() == 2 && before[1] == after[1];
  }

  std::int64_t groups(int node) const {
    return static_cast<std::int64_t>(number(graph_.nodes[node], "groups", 1));
  }

  // The second layer's weight as [groups, outputs of a group, inputs of a group, ...].
  at::Tensor by_groups(int node) const {
    const auto weight = own(node, "weight");
    const auto count = groups(node);
    return weight.reshape({count, weight.size(0) / count, weight.size(1), -1});
  }

  /// Returns the largest |log| of the factors.
  double equalize(const Pair& pair) const {
    const auto first = own(pair.first, "weight");
    const auto outputs = channel_values(channel_maxima(first)),
               inputs = channel_values(by_groups(pair.second).to(at::kFloat).abs().amax({1, 3}));
    std::vector<double> gain(outputs.size(), 1), reach(outputs.size(), 0);
    if (pair.batch_norm >= 0) {
      const auto gamma = channel_values(own(pair.batch_norm, "weight")),
                 beta = channel_values(own(pair.batch_norm, "bias")),
                 variance = channel_values(own(pair.batch_norm, "running_var"));
      const double eps = number(graph_.nodes[pair.batch_norm], "eps", 1e-5);
      for (std::size_t c = 0; c < gain.size(); ++c) {
        gain[c] = std::fabs(gamma[c]) / std::sqrt(variance[c] + eps);
        reach[c] = std::fabs(beta[c]) + 3 * std::fabs(gamma[c]);
      }
    }
    const double farthest = *std::max_element(reach.begin(), reach.end());
    double largest = 0;
    std::vector<double> factors(outputs.size(), 1);
    for (std::size_t c = 0; c < factors.size(); ++c) {
      const double left = outputs[c] * gain[c], right = inputs[c];
      if (!(left > 0 && right > 0) || !std::isfinite(left / right)) continue;
      // A quiet channel is not raised above what the others reach: their common range would grow.
      factors[c] =
          farthest > 0 ? std::max(std::sqrt(left / right), reach[c] / farthest) : std::sqrt(left / right);
      largest = std::max(largest, std::fabs(std::log(factors[c])));
    }
    divide(pair, factors);
    return largest;
  }

  void divide(const Pair& pair, const std::vector<double>& values) const {
    const auto factors = at::tensor(values, at::kDouble);
    const auto divided = [&](const at::Tensor& tensor) {
      if (!tensor.defined()) return;
      const auto shaped = along_channels(factors.to(tensor.device()), tensor.dim());
      tensor.copy_(tensor.to(at::kDouble) / shaped);
    };
    if (pair.batch_norm >= 0) {
      divided(own(pair.batch_norm, "weight")), divided(own(pair.batch_norm, "bias"));
    } else {
      divided(own(pair.first, "weight")), divided(own(pair.first, "bias"));
    }
    const auto second = own(pair.second, "weight");
    const auto count = groups(pair.second);
    const auto grouped = by_groups(pair.second).to(at::kDouble);
    second.copy_((grouped * factors.to(second.device()).reshape({count, 1, -1, 1})).reshape(second.sizes()));
  }

  const Graph& graph_;
  Readers readers_;
  std::vector<Pair> pairs_;
};

}  // namespace detail

/// Cross-layer equalization (Nagel et al. 2019, arXiv 1906.04721, section 4.1): scales the channels between
/// two layers so that they have the same largest magnitude in both weights, batch-norm folded, and one scale
/// suits them better; the network computes the same. Changes the weights, biases and batch-norm parameters of
/// the model that was recorded, in place. Returns the pairs, which may be none.
inline std::vector<EqualizedPair> equalize(const Graph& graph) { return detail::Equalizer(graph).run(); }

}  // namespace sparsify
