// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/ops/cat.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <numeric>
#include <string>
#include <vector>

#include "sparsify/masks/channel_permutation.hpp"
#include "sparsify/permute_channels.hpp"

namespace sparsify {

/// What permuting channels did for N:M.
struct PermutationGain {
  std::int64_t spaces = 0;    ///< whose channels changed places
  std::int64_t searched = 0;  ///< of so many that could
  double magnitude = 0;       ///< of the weights in question, all of it
  double kept_before = 0, kept_after = 0;

  std::string text() const {
    char line[160];
    std::snprintf(line, sizeof line,
                  "%lld of %lld sets of channels changed places: N:M keeps %.2f %% of the magnitude of their "
                  "readers, not %.2f %%",
                  static_cast<long long>(spaces), static_cast<long long>(searched),
                  100 * kept_after / magnitude, 100 * kept_before / magnitude);
    return searched == 0 || magnitude == 0 ? "no channels can change places" : line;
  }
};

namespace detail {

/// The magnitudes [channels, rows] that the order of a space's channels decides on, from those of `weights`
/// that N:M prunes; undefined when there are none, or when groups of N:M reach over the ends of the space or
/// of its own groups.
inline at::Tensor magnitudes_of_readers(const ChannelSpace& space, const Parameters& weights, NofM pattern) {
  std::vector<at::Tensor> rows;
  for (const auto& member : members_of(space)) {
    const auto* weight = member.dim == 1 ? find_named(weights, member.name) : nullptr;
    if (!weight) continue;
    if (space.group_size() % pattern.m != 0 || member.offset % pattern.m != 0) return {};
    if (member.repeat % pattern.m == 0) continue;  // whole groups move
    if (member.repeat != 1) return {};
    const auto part = weight->tensor.detach().narrow(1, member.offset, space.size / member.groups);
    rows.push_back(part.unflatten(0, {member.groups, -1})
                       .transpose(1, 2)
                       .abs()
                       .to(at::kCPU, at::kFloat)
                       .reshape({space.size, -1}));
  }
  return rows.empty() ? at::Tensor() : at::cat(rows, 1);
}

/// An order in which N:M keeps more, every group of the space by itself.
inline std::vector<std::int64_t> better_order(const ChannelSpace& space, const at::Tensor& magnitudes,
                                              NofM pattern, double work) {
  std::vector<std::int64_t> order;
  for (std::int64_t first = 0; first < space.size; first += space.group_size())
    for (const auto channel : better_channel_order(magnitudes.narrow(0, first, space.group_size()), pattern,
                                                   work / static_cast<double>(space.groups)))
      order.push_back(first + channel);
  return order;
}

}  // namespace detail

/// Puts channels into an order in which N:M keeps more of `weights`, in every space that is not fixed.
/// `work`: comparisons that the search may cost, divided among spaces by what one look at each costs.
inline PermutationGain permute_for_n_of_m(State& state, const std::vector<ChannelSpace>& spaces,
                                          const Parameters& weights, NofM pattern, double work) {
  const at::NoGradGuard no_grad;
  const auto cost = [](const ChannelSpace& space, const at::Tensor& magnitudes) {
    return static_cast<double>(magnitudes.numel()) * static_cast<double>(space.group_size());
  };
  std::vector<const ChannelSpace*> free;
  double all = 0;
  for (const auto& space : spaces) {
    if (!space.fixed.empty() || space.group_size() <= pattern.m) continue;
    const auto magnitudes = detail::magnitudes_of_readers(space, weights, pattern);
    if (magnitudes.defined()) free.push_back(&space), all += cost(space, magnitudes);
  }
  PermutationGain gain;
  for (const auto* space : free) {
    const auto magnitudes = detail::magnitudes_of_readers(*space, weights, pattern);
    std::vector<std::int64_t> as_it_is(static_cast<std::size_t>(space->size));
    std::iota(as_it_is.begin(), as_it_is.end(), 0);
    const auto order =
        detail::better_order(*space, magnitudes, pattern, work * cost(*space, magnitudes) / all);
    gain.magnitude += magnitudes.sum(at::kDouble).item<double>();
    gain.kept_before += kept_magnitude(magnitudes, as_it_is, pattern);
    gain.kept_after += kept_magnitude(magnitudes, order, pattern);
    ++gain.searched;
    if (order == as_it_is) continue;
    permute_channels(state, *space, order);
    ++gain.spaces;
  }
  return gain;
}

}  // namespace sparsify
