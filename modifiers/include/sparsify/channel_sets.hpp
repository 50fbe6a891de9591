// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/argsort.h>
#include <ATen/ops/zeros.h>

#include <cstdint>
#include <sstream>
#include <string>
#include <vector>

#include "sparsify/error.hpp"
#include "sparsify/graph/channel_space.hpp"
#include "sparsify/parameters.hpp"
#include "sparsify/state_dict.hpp"

namespace sparsify {

/// Channels that are removed together: by which weights they are judged, and in which parameters they are
/// zeroed.
struct ChannelSet {
  std::int64_t size = 0;
  std::vector<ChannelMember> scored, masked;
};

/// By filter: judged by the filters that make the channels, zeroed in all that produces them. Otherwise by
/// the weights that read them, and zeroed there.
inline ChannelSet make_channel_set(const ChannelSpace& space, bool by_filter, const Parameters& parameters) {
  if (!by_filter) return {space.size, space.consumers, space.consumers};
  ChannelSet set{space.size, {}, {}};
  for (const auto& member : space.producers) {
    if (member.makes) set.scored.push_back(member);
    if (find_named(parameters, member.name)) set.masked.push_back(member);
  }
  return set;
}

/// A view [channels, ...] of a member.
inline at::Tensor channels_of(const at::Tensor& tensor, const ChannelMember& member, std::int64_t channels) {
  return tensor.narrow(member.dim, member.offset, channels * member.repeat)
      .unflatten(member.dim, {channels, member.repeat})
      .movedim(member.dim, 0);
}

/// The `count` channels of smallest L2 norm, over all weights they are judged by; of equal ones the first.
inline at::Tensor smallest_channels(const ChannelSet& set, const Parameters& parameters, std::int64_t count) {
  const at::NoGradGuard no_grad;
  auto squares = at::zeros({set.size}, at::kDouble);
  for (const auto& member : set.scored) {
    const auto weight = find_named(parameters, member.name)->tensor.detach();
    squares += channels_of(weight, member, set.size)
                   .reshape({set.size, -1})
                   .square()
                   .sum(1, false, at::kDouble)
                   .cpu();
  }
  return at::argsort(squares, /*stable=*/true, /*dim=*/0, /*descending=*/false).narrow(0, 0, count);
}

/// How many channels are zero wherever they are to be zeroed.
inline std::int64_t dead_channels(const ChannelSet& set, const Parameters& parameters) {
  const at::NoGradGuard no_grad;
  auto alive = at::zeros({set.size}, at::kBool);
  for (const auto& member : set.masked) {
    const auto tensor = find_named(parameters, member.name)->tensor.detach();
    alive |= channels_of(tensor, member, set.size).reshape({set.size, -1}).ne(0).any(1).cpu();
  }
  return set.size - alive.sum().item<std::int64_t>();
}

/// As text in a byte tensor, for state dicts.
inline at::Tensor to_bytes(const std::vector<ChannelSet>& sets) {
  std::ostringstream text;
  const auto write = [&](const char* kind, const ChannelMember& member) {
    text << kind << ' ' << member.dim << ' ' << member.offset << ' ' << member.repeat << ' ' << member.makes
         << ' ' << member.name << '\n';
  };
  for (const auto& set : sets) {
    text << "set " << set.size << '\n';
    for (const auto& member : set.scored) write("scored", member);
    for (const auto& member : set.masked) write("masked", member);
  }
  return text_tensor(text.str());
}

inline std::vector<ChannelSet> from_bytes(const at::Tensor& bytes) {
  std::istringstream text(text_of(bytes));
  std::vector<ChannelSet> sets;
  for (std::string kind; text >> kind;) {
    ChannelMember member;
    if (kind == "set")
      text >> sets.emplace_back().size;
    else
      text >> member.dim >> member.offset >> member.repeat >> member.makes >> member.name;
    if (!text || sets.empty()) throw Error("the saved sets of channels cannot be read");
    if (kind == "scored") sets.back().scored.push_back(member);
    if (kind == "masked") sets.back().masked.push_back(member);
  }
  return sets;
}

}  // namespace sparsify
