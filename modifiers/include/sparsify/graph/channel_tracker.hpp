// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "sparsify/graph/channel_ops.hpp"
#include "sparsify/graph/channel_space.hpp"
#include "sparsify/graph/graph.hpp"

namespace sparsify {
namespace detail {

/// The channels of a tensor: along `axis`, parts one behind another.
struct ChannelLayout {
  struct Part {
    int space;
    std::int64_t repeat;
  };
  int axis = -1;  ///< -1: not known
  std::vector<Part> parts{};
  bool known() const { return axis >= 0; }
};

/// Follows channels through a recorded forward pass. What it cannot follow it fixes, with the reason.
class ChannelTracker {
 public:
  explicit ChannelTracker(const Graph& graph)
      : graph_(graph), layouts_(graph.values.size()), lost_(graph.values.size()) {}

  std::vector<ChannelSpace> run() {
    for (const auto& node : graph_.nodes) {
      const auto trouble = follow(node);
      if (!trouble.empty()) block(node, trouble);
    }
    for (const int output : graph_.outputs)
      if (output >= 0) fix(layouts_[output], "an output of the network");
    auto spaces = spaces_.take();
    for (auto& space : spaces) {
      fix_pinned(space, space.producers);
      fix_pinned(space, space.consumers);
    }
    return spaces;
  }

 private:
  enum class Role { kMakes, kActsOnEach, kReads };

  // Each of these gives the channels of a call's results; or why it cannot, and the call is a barrier.
  std::string follow(const GraphNode& node) {
    const auto op = short_name(node);
    if (op == "conv1d" || op == "conv2d" || op == "conv3d") return convolution(node, 1, 0);
    if (op == "conv_transpose1d" || op == "conv_transpose2d" || op == "conv_transpose3d")
      return convolution(node, 0, 1);
    if (op == "linear") return linear(node);
    if (op == "batch_norm" || op == "instance_norm") return normalisation(node, 1);
    if (op == "layer_norm") return layer_norm(node);
    if (op == "prelu") return prelu(node);
    if (op == "cat") return concatenation(node);
    if (op == "mean" || op == "sum" || op == "amax") return reduction(node);
    if (op == "permute") return permute(node);
    if (op == "transpose") return transpose(node);
    if (op == "constant_pad_nd") return pad(node);
    if (works_on_each_element(op)) return pass(node, 0);
    if (works_on_neighbours(op)) return pass(node, spatial_dimensions_of(op));
    if (combines_elements(op)) return elementwise(node);
    if (reshapes(op)) return reshape(node);
    if (op == "slice" || op == "split" || op == "split_with_sizes") return take_apart(node);
    return "is not known to keep channels apart";
  }

  // A weight [.., channels read, ..] along `in`, channels made along `out`.
  std::string convolution(const GraphNode& node, int in, int out) {
    const int input = node.value("input"), weight = node.value("weight");
    if (input < 0 || weight < 0 || graph_.values[weight].name.empty()) return "has a computed weight";
    const auto& sizes = graph_.values[weight].sizes;
    const int axis = rank(input) + 1 - static_cast<int>(sizes.size());
    const auto read = layout(input, axis);
    if (axis < 0 || read.axis != axis) return kOtherDimension;
    const auto groups = integer(node, "groups", 1);
    ChannelLayout made{axis, {}};
    auto role = Role::kMakes;
    if (groups == 1) {
      const auto trouble = add_member(read, weight, in, Role::kReads);
      if (!trouble.empty()) return trouble;
      made.parts = {{spaces_.add(sizes[out]), 1}};
    } else if (in == 1 && sizes[1] == 1 && groups == length(read)) {
      role = Role::kActsOnEach;
      made.parts = read.parts;
      for (auto& part : made.parts) part.repeat *= sizes[0] / groups;
    } else {
      const auto reason = "a grouped convolution, " + graph_.values[weight].name;
      const bool in_order = in == 1 && read.parts.size() == 1 && read.parts.front().repeat == 1;
      if (!in_order) fix(read, reason);
      made.parts = {{spaces_.add(in == 1 ? sizes[0] : sizes[1] * groups, in_order ? "" : reason), 1}};
      if (in != 1) return give(node, made);
      if (in_order) {
        const auto trouble = add_member(read, weight, in, Role::kReads, groups);
        if (!trouble.empty()) return trouble;
        for (const int space : {read.parts.front().space, made.parts.front().space})
          spaces_.divide(space, groups, reason);
      }
    }
    const auto trouble = add_member(made, weight, out, role);
    return trouble.empty() ? add_optional(node, "bias", made) + give(node, made) : trouble;
  }

  std::string linear(const GraphNode& node) {
    const int input = node.value("input"), weight = node.value("weight");
    if (input < 0 || weight < 0 || graph_.values[weight].name.empty()) return "has a computed weight";
    const int axis = rank(input) - 1;
    const auto read = layout(input, axis);
    if (read.axis != axis) return kOtherDimension;
    auto trouble = add_member(read, weight, 1, Role::kReads);
    if (!trouble.empty()) return trouble;
    const ChannelLayout made{axis, {{spaces_.add(graph_.values[weight].sizes[0]), 1}}};
    add_member(made, weight, 0, Role::kMakes);
    trouble = add_optional(node, "bias", made);
    return trouble.empty() ? give(node, made) : trouble;
  }

  std::string normalisation(const GraphNode& node, int axis) {
    const auto through = layout(node.value("input"), axis);
    if (through.axis != axis) return kOtherDimension;
    for (const auto* argument : {"weight", "bias", "running_mean", "running_var"}) {
      const auto trouble = add_optional(node, argument, through);
      if (!trouble.empty()) return trouble;
    }
    return give(node, through);
  }

  std::string layer_norm(const GraphNode& node) {
    const auto* shape = node.find("normalized_shape");
    if (!shape || !shape->constant.isIntList() || shape->constant.toIntVector().size() != 1)
      return "normalises over more than channels";
    return normalisation(node, rank(node.value("input")) - 1);
  }

  std::string prelu(const GraphNode& node) {
    const int weight = node.value("weight");
    const auto through = layout(node.value("self"), 1);
    if (through.axis != 1) return kOtherDimension;
    const bool one_for_all = weight >= 0 && graph_.values[weight].sizes == std::vector<std::int64_t>{1};
    const auto trouble = one_for_all ? "" : add_optional(node, "weight", through);
    return trouble.empty() ? give(node, through) : trouble;
  }

  // One tensor in, one out: channels stay where they are; the last `dimensions` are mixed.
  std::string pass(const GraphNode& node, int dimensions) {
    const auto tensors = tensors_of(node);
    if (tensors.size() != 1) return "reads several tensors";
    const auto& through = layouts_[tensors.front()];
    if (!through.known()) return why_lost(tensors.front());
    if (through.axis >= rank(tensors.front()) - dimensions) return "mixes channels";
    return give(node, through);
  }

  // Operands are aligned from the right; those with one entry along the channels are for all of them.
  std::string elementwise(const GraphNode& node) {
    const auto tensors = tensors_of(node);
    const auto known =
        std::find_if(tensors.begin(), tensors.end(), [&](int v) { return layouts_[v].known(); });
    if (known == tensors.end()) return "computes with tensors whose channels are not known";
    const int axis = rank(node.outputs.front()) - (rank(*known) - layouts_[*known].axis);
    if (axis < 0) return kOtherDimension;
    const auto size = graph_.values[node.outputs.front()].sizes[axis];
    ChannelLayout result;
    std::vector<std::pair<int, int>> parameters;  // with their dimension
    for (const int value : tensors) {
      const int own = axis - rank(node.outputs.front()) + rank(value);
      if (layouts_[value].known() && layouts_[value].axis != own) return kOtherDimension;
      if (own < 0) continue;
      if (graph_.values[value].sizes[own] == 1 && size > 1)
        fix(layouts_[value], "one channel for all others");
      else if (!graph_.values[value].name.empty())
        parameters.emplace_back(value, own);
      else
        result = result.known() ? unite(result, layout(value, own))
                                : ChannelLayout{axis, layout(value, own).parts};
    }
    if (!result.known()) return "computes with parameters alone";
    for (const auto& [value, own] : parameters) {
      const auto trouble = add_member(result, value, own, Role::kActsOnEach);
      if (!trouble.empty()) return trouble;
    }
    return give(node, result);
  }

  std::string concatenation(const GraphNode& node) {
    const auto tensors = tensors_of(node);
    const auto known =
        std::find_if(tensors.begin(), tensors.end(), [&](int v) { return layouts_[v].known(); });
    if (known == tensors.end()) return "joins tensors whose channels are not known";
    const int axis = layouts_[*known].axis;
    const bool one_behind_another = dimension(node, "dim", rank(*known)) == axis;
    ChannelLayout result{axis, {}};
    for (const int value : tensors) {
      if (!graph_.values[value].name.empty()) return "joins a parameter";
      const auto part = layout(value, axis);
      if (part.axis != axis) return kOtherDimension;
      if (one_behind_another)
        result.parts.insert(result.parts.end(), part.parts.begin(), part.parts.end());
      else
        result = result.parts.empty() ? part : unite(result, part);
    }
    return give(node, result);
  }

  std::string reduction(const GraphNode& node) {
    const auto* dims = node.find("dim");
    const int self = node.value("self");
    if (self < 0 || !dims || !dims->constant.isIntList() || dims->constant.toIntVector().empty())
      return "mixes channels";
    auto result = layouts_[self];
    if (!result.known()) return why_lost(self);
    const auto* keep = node.find("keepdim");
    const bool keeps = keep && keep->constant.isBool() && keep->constant.toBool();
    const int axis = result.axis;
    for (auto dim : dims->constant.toIntVector()) {
      if (dim < 0) dim += rank(self);
      if (dim == axis) return "mixes channels";
      if (dim < axis && !keeps) --result.axis;
    }
    return give(node, result);
  }

  std::string permute(const GraphNode& node) {
    const int self = node.value("self");
    if (self < 0 || !layouts_[self].known()) return why_lost(self);
    const auto dims = node.find("dims")->constant.toIntVector();
    auto result = layouts_[self];
    for (int i = 0; i < static_cast<int>(dims.size()); ++i)
      if ((dims[i] + rank(self)) % rank(self) == layouts_[self].axis) result.axis = i;
    return give(node, result);
  }

  std::string transpose(const GraphNode& node) {
    const int self = node.value("self");
    if (self < 0 || !layouts_[self].known()) return why_lost(self);
    if (!node.find("dim0")) return kOtherDimension;
    const int a = dimension(node, "dim0", rank(self)), b = dimension(node, "dim1", rank(self));
    auto result = layouts_[self];
    result.axis = result.axis == a ? b : result.axis == b ? a : result.axis;
    return give(node, result);
  }

  // Pairs from the last dimension on: before, behind.
  std::string pad(const GraphNode& node) {
    const int self = node.value("self");
    if (self < 0 || !layouts_[self].known()) return why_lost(self);
    const auto amounts = node.find("pad")->constant.toIntVector();
    const auto at = static_cast<std::size_t>(2 * (rank(self) - 1 - layouts_[self].axis));
    if (at + 1 < amounts.size() && (amounts[at] != 0 || amounts[at + 1] != 0)) return "adds channels";
    return give(node, layouts_[self]);
  }

  std::string take_apart(const GraphNode& node) {
    const int self = node.value("self");
    if (self < 0 || !layouts_[self].known()) return why_lost(self);
    if (dimension(node, "dim", rank(self)) == layouts_[self].axis) return "takes channels apart";
    return give(node, layouts_[self]);
  }

  // Elements keep their order: what lies before the channels must stay; what lies behind may join them.
  std::string reshape(const GraphNode& node) {
    const int self = tensors_of(node).front(), output = node.outputs.front();
    auto result = layouts_[self];
    if (!result.known()) return why_lost(self);
    const auto &from = graph_.values[self].sizes, &to = graph_.values[output].sizes;
    const auto axis = static_cast<std::size_t>(result.axis);
    if (to.size() <= axis || !std::equal(from.begin(), from.begin() + result.axis, to.begin()))
      return "mixes channels with what lies before them";
    const auto inner = product(from, axis + 1);
    const bool expands = short_name(node).compare(0, 6, "expand") == 0;
    if (to[axis] == from[axis] && (expands ? to.size() == from.size() : product(to, axis + 1) == inner))
      return give(node, result);
    if (expands || to.size() != axis + 1 || to[axis] != from[axis] * inner) return "takes channels apart";
    for (auto& part : result.parts) part.repeat *= inner;
    return give(node, result);
  }

  // --- what all of them use ---

  static constexpr const char* kOtherDimension = "reads channels along another dimension";

  int rank(int value) const { return static_cast<int>(graph_.values[value].sizes.size()); }

  std::int64_t length(const ChannelLayout& layout) {
    std::int64_t all = 0;
    for (const auto& part : layout.parts) all += spaces_.of(part.space).size * part.repeat;
    return all;
  }

  // The channels of a tensor: along `axis` and fixed, when nothing is known of them yet.
  ChannelLayout layout(int value, int axis) {
    auto& known = layouts_[value];
    if (!known.known() && axis >= 0 && axis < rank(value))
      known = {axis, {{spaces_.add(graph_.values[value].sizes[axis], why_lost(value)), 1}}};
    return known;
  }

  std::string why_lost(int value) const {
    if (value < 0) return "reads no tensor";
    if (!lost_[value].empty()) return lost_[value];
    if (!graph_.values[value].name.empty()) return "computed from " + graph_.values[value].name;
    return graph_.values[value].tensor.defined() ? "meets a constant" : "an input of the network";
  }

  std::string give(const GraphNode& node, const ChannelLayout& layout) {
    for (const int output : node.outputs)
      if (output >= 0 && rank(output) > layout.axis &&
          graph_.values[output].sizes[layout.axis] == length(layout))
        layouts_[output] = layout;
      else if (output >= 0)
        return "changes the number of channels";
    return "";
  }

  std::string add_optional(const GraphNode& node, const char* argument, const ChannelLayout& layout) {
    const int value = node.value(argument);
    return value < 0 ? "" : add_member(layout, value, 0, Role::kActsOnEach);
  }

  std::string add_member(const ChannelLayout& layout, int value, int dim, Role role,
                         std::int64_t groups = 1) {
    const auto& named = graph_.values[value];
    if (named.name.empty()) return "computes with a tensor for each channel that is no parameter";
    if (dim >= rank(value) || named.sizes[dim] * groups != length(layout))
      return "does not fit " + named.name;
    const auto [entry, is_new] = members_.emplace(std::make_pair(named.name, dim), layout);
    if (!is_new) {
      unite(entry->second, layout);
      return "";
    }
    std::int64_t offset = 0;
    for (const auto& part : layout.parts) {
      auto& space = spaces_.of(part.space);
      (role == Role::kReads ? space.consumers : space.producers)
          .push_back({named.name, dim, offset, part.repeat, role == Role::kMakes, groups});
      offset += space.size * part.repeat;
    }
    return "";
  }

  ChannelLayout unite(const ChannelLayout& a, const ChannelLayout& b) {
    const bool alike = std::equal(
        a.parts.begin(), a.parts.end(), b.parts.begin(), b.parts.end(), [&](const auto& x, const auto& y) {
          return x.repeat == y.repeat && spaces_.of(x.space).size == spaces_.of(y.space).size;
        });
    if (!alike) {
      fix(a, "meets channels that are divided otherwise");
      fix(b, "meets channels that are divided otherwise");
      return a;
    }
    for (std::size_t i = 0; i < a.parts.size(); ++i) spaces_.unite(a.parts[i].space, b.parts[i].space);
    return a;
  }

  void fix(const ChannelLayout& layout, const std::string& reason) {
    for (const auto& part : layout.parts) spaces_.fix(part.space, reason);
  }

  void fix_pinned(ChannelSpace& space, const std::vector<ChannelMember>& members) {
    for (const auto& member : members)
      if (const auto pin = pinned_.find(member.name); pin != pinned_.end() && space.fixed.empty())
        space.fixed = member.name + ": " + pin->second;
  }

  void block(const GraphNode& node, const std::string& trouble) {
    const auto reason = trouble == "an input of the network" || trouble.find(" (") != std::string::npos
                            ? trouble
                            : short_name(node) + " (" + node.site + ") " + trouble;
    for (const int value : tensors_of(node)) {
      fix(layouts_[value], reason);
      if (!graph_.values[value].name.empty()) pinned_.emplace(graph_.values[value].name, reason);
    }
    for (const int output : node.outputs)
      if (output >= 0) layouts_[output] = {}, lost_[output] = reason;
  }

  const Graph& graph_;
  SpaceSet spaces_;
  std::vector<ChannelLayout> layouts_;  // by value
  std::vector<std::string> lost_;       // by value: why its channels are not known
  std::map<std::pair<std::string, std::int64_t>, ChannelLayout> members_;
  std::map<std::string, std::string> pinned_;  // parameters that a call reads as a whole
};

}  // namespace detail
}  // namespace sparsify
