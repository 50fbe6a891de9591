// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

namespace sparsify {

/// Where the channels of a space lie in one parameter or buffer: channel c has the entries from
/// `offset + c * repeat` on, `repeat` of them, along `dim`.
struct ChannelMember {
  std::string name;
  std::int64_t dim = 0;
  std::int64_t offset = 0;  ///< above 0 behind a concatenation
  std::int64_t repeat = 1;  ///< entries of each channel: H * W in a linear layer that reads a flattened image
  bool makes = false;       ///< the weight of a convolution or linear layer that computes these channels
  /// Above 1: the weight of a grouped convolution that reads the channels, each one in the rows of its group.
  std::int64_t groups = 1;
};

/// Channels that are the same everywhere they go: put into another order in all members, or taken out of all,
/// they leave a network that fits together.
struct ChannelSpace {
  std::int64_t size = 0;
  std::vector<ChannelMember> producers;  ///< filters, their biases, and all that works on each channel alone
  std::vector<ChannelMember> consumers;  ///< weights that read the channels
  std::string fixed;                     ///< why the order must stay; empty: it may change
  std::int64_t groups = 1;               ///< of equal size, in each of which the order may change by itself
  std::string grouped{};                 ///< why there are groups

  std::int64_t group_size() const { return size / groups; }
};

namespace detail {

/// Spaces that are united as it becomes known that their channels meet.
class SpaceSet {
 public:
  int add(std::int64_t size, std::string fixed = "") {
    spaces_.push_back({size, {}, {}, std::move(fixed)});
    parents_.push_back(static_cast<int>(parents_.size()));
    return parents_.back();
  }

  ChannelSpace& of(int space) { return spaces_[root(space)]; }

  void fix(int space, const std::string& reason) {
    auto& fixed = of(space).fixed;
    if (fixed.empty()) fixed = reason;
  }

  /// From now on channels change places only within each of so many groups.
  void divide(int space, std::int64_t groups, const std::string& reason) {
    auto& divided = of(space);
    divided.groups = std::lcm(divided.groups, groups);
    if (divided.grouped.empty()) divided.grouped = reason;
  }

  /// Both have the same size.
  void unite(int a, int b) {
    const auto [first, second] = std::minmax({root(a), root(b)});
    if (first == second) return;
    parents_[second] = first;
    auto& kept = spaces_[first];
    auto& gone = spaces_[second];
    kept.producers.insert(kept.producers.end(), gone.producers.begin(), gone.producers.end());
    kept.consumers.insert(kept.consumers.end(), gone.consumers.begin(), gone.consumers.end());
    if (kept.fixed.empty()) kept.fixed = gone.fixed;
    divide(first, gone.groups, gone.grouped);
  }

  /// Those that have members, in the order in which the forward pass met them.
  std::vector<ChannelSpace> take() {
    std::vector<ChannelSpace> taken;
    for (std::size_t i = 0; i < spaces_.size(); ++i)
      if (parents_[i] == static_cast<int>(i) &&
          !(spaces_[i].producers.empty() && spaces_[i].consumers.empty()))
        taken.push_back(std::move(spaces_[i]));
    return taken;
  }

 private:
  int root(int space) const {
    while (parents_[space] != space) space = parents_[space];
    return space;
  }

  std::vector<ChannelSpace> spaces_;
  std::vector<int> parents_;
};

}  // namespace detail
}  // namespace sparsify
