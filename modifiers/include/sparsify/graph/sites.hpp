// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <unordered_set>

#include "sparsify/graph/operators.hpp"
#include "sparsify/graph/tensor_names.hpp"

namespace sparsify {

/// Gives the operator calls of a forward pass names that survive what changes between passes: image size,
/// dropout, a decoding that runs only in evaluation. A weighted operator is called after its weight
/// ("layer1.0.conv1.weight"; "...@1" when used a second time), any other after the last weighted one before
/// it and its place among its kind since then
/// ("layer1.0.conv2.weight/add#0"). Before the first weighted one: "input/...". After a weight that is not
/// the model's (a teacher's): "foreign/...", until the model's next.
class SiteNames {
 public:
  explicit SiteNames(const TensorNames& names) : names_(names) {}

  /// Before the call runs: starts a section when the call is weighted; returns the weight, when it is the
  /// model's.
  TensorNames::Found enter(const OperatorFacts& facts, const c10::IValue* arguments) {
    is_weighted_ = false;
    if (facts.weight_argument < 0 || !arguments[facts.weight_argument].isTensor()) return {};
    const auto& weight = arguments[facts.weight_argument].toTensor();
    const auto found = names_.find(weight);
    if (found && (!found.transposed || facts.may_transpose)) {
      const int use = uses_[found.named->name]++;
      start(use == 0 ? found.named->name : found.named->name + "@" + std::to_string(use));
      is_weighted_ = true;
      return found;
    }
    // The product of two activations is no weighted call, and a weight that was computed here belongs to the
    // model.
    if (!weight.has_storage() || computed_.count(weight.storage().unsafeGetStorageImpl())) return {};
    if (facts.may_transpose && weight.dim() != 2) return {};
    start("foreign");
    return {};
  }

  /// After the call has run: its name. Calls that make no floating-point tensor of two dimensions or more
  /// (counters, shapes) get a name of their own series, so that they never shift the others.
  std::string leave(const OperatorFacts& facts, const at::Tensor& first_output) {
    if (is_weighted_) return section_;
    const bool counts = first_output.defined() && first_output.is_floating_point() && first_output.dim() >= 2;
    const auto kind = counts ? facts.short_name : facts.short_name + "~";
    return section_ + "/" + kind + "#" + std::to_string(ordinals_[kind]++);
  }

  /// Remembers that this pass computed a tensor (and not only took a view of something older).
  void note_computed(const at::Tensor& output) {
    if (output.has_storage()) computed_.insert(output.storage().unsafeGetStorageImpl());
  }

  bool is_foreign() const { return section_ == "foreign"; }
  /// The weighted call that came last, for messages.
  const std::string& here() const { return section_; }

 private:
  void start(std::string section) {
    section_ = std::move(section);
    ordinals_.clear();
  }

  const TensorNames& names_;
  std::string section_ = "input";
  bool is_weighted_ = false;
  std::map<std::string, int> uses_;
  std::map<std::string, int> ordinals_;
  std::unordered_set<const void*> computed_;
};

}  // namespace sparsify
