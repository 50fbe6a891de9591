// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "sparsify/graph/channel_space.hpp"
#include "sparsify/state.hpp"

namespace sparsify {
namespace detail {

/// For every entry along a member's dimension, which one takes its place.
inline at::Tensor entries_in_order(const ChannelMember& member, std::int64_t length,
                                   const std::vector<std::int64_t>& order) {
  auto entries = at::arange(length, at::kLong);
  auto* entry = entries.mutable_data_ptr<std::int64_t>() + member.offset;
  for (const auto channel : order)
    for (std::int64_t i = 0; i < member.repeat; ++i) *entry++ = member.offset + channel * member.repeat + i;
  return entries;
}

inline void put_in_order_(const at::Tensor& tensor, ChannelMember member,
                          const std::vector<std::int64_t>& order) {
  if (const auto groups = std::exchange(member.groups, 1); groups > 1) {
    const auto rows = tensor.size(0) / groups, channels = tensor.size(member.dim);
    for (std::int64_t group = 0; group < groups; ++group) {
      const auto first = order.begin() + group * channels;
      std::vector<std::int64_t> own(first, first + channels);
      for (auto& channel : own) channel -= group * channels;
      put_in_order_(tensor.narrow(0, group * rows, rows), member, own);
    }
    return;
  }
  const auto entries = entries_in_order(member, tensor.size(member.dim), order).to(tensor.device());
  tensor.copy_(tensor.index_select(member.dim, entries));
}

inline bool stays_in_groups(const ChannelSpace& space, const std::vector<std::int64_t>& order) {
  for (std::int64_t p = 0; p < space.size; ++p)
    if (order[p] / space.group_size() != p / space.group_size()) return false;
  return true;
}

inline std::vector<ChannelMember> members_of(const ChannelSpace& space) {
  auto members = space.producers;
  members.insert(members.end(), space.consumers.begin(), space.consumers.end());
  return members;
}

inline void permute_member(State& state, const ChannelMember& member,
                           const std::vector<std::int64_t>& order) {
  if (const auto* buffer = find_named(state.buffers, member.name))
    return put_in_order_(buffer->tensor, member, order);
  const auto* parameter = find_named(state.parameters, member.name);
  put_in_order_(parameter->tensor.detach(), member, order);
  const auto put = [&](const at::Tensor& tensor) { put_in_order_(tensor.detach(), member, order); };
  if (parameter->tensor.grad().defined()) put(parameter->tensor.grad());
  state.optimizer_access.each_state(parameter->tensor, put);
  const auto mask = state.masks.find(member.name);
  if (!mask.defined()) return;
  auto moved = mask.clone();
  put_in_order_(moved, member, order);
  state.masks.set(*parameter, moved);
}

}  // namespace detail

/// Puts the channels of a space into another order, wherever they go: weights, statistics, gradients, the
/// optimizer's state, masks. Position p takes channel order[p]. The network computes the same, up to the
/// order of sums. Throws Error, having changed nothing, when the space is fixed, when a channel leaves its
/// group, or when the optimizer keeps state of an unknown kind.
inline void permute_channels(State& state, const ChannelSpace& space,
                             const std::vector<std::int64_t>& order) {
  if (!space.fixed.empty()) throw Error("these channels cannot change places: " + space.fixed);
  if (!detail::stays_in_groups(space, order))
    throw Error("these channels change places only within their groups: " + space.grouped);
  const at::NoGradGuard no_grad;
  const auto members = detail::members_of(space);
  for (const auto& member : members) {
    const auto* parameter = find_named(state.parameters, member.name);
    if (!parameter && !find_named(state.buffers, member.name)) throw Error("the model has no " + member.name);
    if (parameter && !state.optimizer_access.each_state(parameter->tensor, [](const at::Tensor&) {}))
      throw Error("the optimizer's state of " + member.name +
                  " is of an unknown kind: it cannot follow the channels that change places");
  }
  for (const auto& member : members) detail::permute_member(state, member, order);
  ++state.rearrangements;
}

}  // namespace sparsify
