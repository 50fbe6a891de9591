// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include "sparsify/graph/channel_tracker.hpp"
#include "sparsify/graph/recorder.hpp"

namespace sparsify {
namespace detail {

inline std::string first_unused(const Graph& graph, const Parameters& parameters) {
  std::unordered_set<const void*> used;
  for (const auto& node : graph.nodes)
    for (const int value : tensors_of(node))
      if (graph.values[value].tensor.defined()) used.insert(graph.values[value].tensor.const_data_ptr());
  for (const auto& parameter : parameters)
    if (parameter.tensor.numel() > 0 && !used.count(parameter.tensor.const_data_ptr())) return parameter.name;
  return "";
}

}  // namespace detail

/// The channel spaces of a network, from a recorded pass: which channels are the same ones, across residual
/// connections, gates, concatenations and depthwise convolutions; on both sides of a grouped convolution they
/// fall into its groups. `parameters`: all that the model has; when
/// the pass left one out (a head of its own for evaluation, a block that was skipped), nobody knows what it
/// reads, and all spaces are fixed.
inline std::vector<ChannelSpace> channel_spaces(const Graph& graph, const Parameters& parameters) {
  auto spaces = detail::ChannelTracker(graph).run();
  const auto unused = detail::first_unused(graph, parameters);
  if (!unused.empty())
    for (auto& space : spaces)
      if (space.fixed.empty()) space.fixed = "the recorded pass did not use " + unused;
  return spaces;
}

/// The channel spaces of the model, from a training pass. Nothing when another modifier watches the pass
/// (quantization plans and acts by the same means): it just runs, and a later one can be tried. `results`:
/// what the pass returned, known once it ran; it might be read again by others.
inline std::optional<std::vector<ChannelSpace>> record_channel_spaces(const Parameters& parameters,
                                                                      const Parameters& buffers,
                                                                      const std::vector<at::Tensor>& results,
                                                                      const std::function<void()>& run) {
  if (is_watched()) {
    run();
    return std::nullopt;
  }
  const auto graph = record(parameters, buffers, run, results);
  if (graph.nodes.empty()) return std::nullopt;
  return channel_spaces(graph, parameters);
}

}  // namespace sparsify
