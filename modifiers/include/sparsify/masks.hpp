// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/scalar_tensor.h>

#include <map>
#include <string>
#include <unordered_map>
#include <utility>

#include "sparsify/error.hpp"
#include "sparsify/masks/apply.hpp"
#include "sparsify/masks/hash.hpp"
#include "sparsify/parameters.hpp"
#include "sparsify/state_dict.hpp"

namespace sparsify {

/// The masks in force, by parameter name: bool, true where a weight is kept. The session applies them to
/// gradients before and to weights after every optimizer step, whichever modifier made them.
class Masks {
 public:
  /// Puts a mask in force and zeroes the weights it removes. `mask` has the parameter's shape.
  void set(const Parameter& parameter, at::Tensor mask) {
    if (mask.scalar_type() != at::kBool || mask.sizes() != parameter.tensor.sizes())
      throw Error("mask of " + parameter.name + ": expected bool of the parameter's shape");
    apply_mask_(parameter.tensor.detach(), mask);
    entries_.insert_or_assign(parameter.name, Entry{parameter.tensor, std::move(mask)});
  }

  void remove(const std::string& name) { entries_.erase(name); }
  bool empty() const { return entries_.empty(); }

  /// The mask of a parameter, or an undefined tensor.
  at::Tensor find(const std::string& name) const {
    const auto found = entries_.find(name);
    return found == entries_.end() ? at::Tensor() : found->second.mask;
  }

  /// All masks, by the parameter they belong to.
  std::unordered_map<const c10::TensorImpl*, at::Tensor> by_parameter() const {
    std::unordered_map<const c10::TensorImpl*, at::Tensor> masks;
    for (const auto& [name, entry] : entries_) masks[entry.parameter.unsafeGetTensorImpl()] = entry.mask;
    return masks;
  }

  void apply_to_weights() const {
    for (const auto& [name, entry] : entries_) apply_mask_(entry.parameter.detach(), entry.mask);
  }

  void apply_to_gradients() const {
    for (const auto& [name, entry] : entries_)
      if (entry.parameter.grad().defined()) apply_mask_(entry.parameter.grad().detach(), entry.mask);
  }

  /// Zeroes pruned entries in copies of the model: averaged weights (EMA), a state dict about to be saved.
  void apply_to(const StateDict& copies) const {
    for (const auto& [name, entry] : entries_) {
      const auto copy = copies.find(name);
      if (copy != copies.end()) apply_mask_(copy->second.detach(), entry.mask.to(copy->second.device()));
    }
  }

  void save(StateDict& state) const {
    for (const auto& [name, entry] : entries_) {
      state["masks." + name] = entry.mask;
      state["mask_hashes." + name] = at::scalar_tensor(mask_hash(entry.mask), at::kLong);
    }
  }

  /// Replaces all masks by the saved ones; throws when one belongs to no parameter, has another shape, or was
  /// damaged.
  void load(const StateDict& state, const Parameters& parameters) {
    entries_.clear();
    const std::string prefix = "masks.";
    for (auto it = state.lower_bound(prefix); it != state.end() && it->first.rfind(prefix, 0) == 0; ++it) {
      const auto name = it->first.substr(prefix.size());
      const auto hash = state.find("mask_hashes." + name);
      if (hash == state.end() || hash->second.item<std::int64_t>() != mask_hash(it->second))
        throw Error("saved mask of " + name + " does not match its hash: the file is damaged");
      const auto& parameter = owner(parameters, name);
      if (it->second.sizes() != parameter.tensor.sizes())
        throw Error("saved mask of " + name + ": the parameter has another shape");
      set(parameter, placed_like(parameter.tensor, it->second));
    }
  }

 private:
  struct Entry {
    at::Tensor parameter;
    at::Tensor mask;
  };

  static const Parameter& owner(const Parameters& parameters, const std::string& name) {
    if (const auto* found = find_named(parameters, name)) return *found;
    throw Error("saved mask of " + name + ": the model has no such parameter");
  }

  std::map<std::string, Entry> entries_;
};

}  // namespace sparsify
