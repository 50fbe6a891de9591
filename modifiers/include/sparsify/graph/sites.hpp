// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <unordered_map>
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
    if (!weight.has_storage() || is_computed(weight)) return {};
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
    return name(kind, ordinals_[kind]++);
  }

  /// The name that `leave` will give, should the call count.
  std::string peek(const OperatorFacts& facts) const {
    const auto made = ordinals_.find(facts.short_name);
    return name(facts.short_name, made == ordinals_.end() ? 0 : made->second);
  }

  /// Remembers that this pass computed a tensor (and not only took a view of something older).
  void note_computed(const at::Tensor& output) {
    if (output.has_storage()) computed_.insert(output.storage().unsafeGetStorageImpl());
  }

  bool is_foreign() const { return section_ == "foreign"; }
  /// The weighted call that came last, for messages.
  const std::string& here() const { return section_; }

  /// The number of a tensor among the inputs of the pass, or -1: captured floating-point tensors of two
  /// dimensions or more that the model's own calls (other than views) read, in that order. A teacher's
  /// reading does not count.
  int number_input(const OperatorFacts& facts, const at::Tensor& tensor) {
    if (is_foreign() || facts.is_view || !tensor.has_storage() || !tensor.is_floating_point() ||
        tensor.dim() < 2)
      return -1;
    if (is_computed(tensor) || names_.own(tensor)) return -1;
    return inputs_.emplace(tensor.storage().unsafeGetStorageImpl(), static_cast<int>(inputs_.size()))
        .first->second;
  }

 private:
  std::string name(const std::string& kind, int ordinal) const {
    return section_ + "/" + kind + "#" + std::to_string(ordinal);
  }

  bool is_computed(const at::Tensor& tensor) const {
    return tensor.has_storage() && computed_.count(tensor.storage().unsafeGetStorageImpl()) > 0;
  }

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
  std::unordered_map<const void*, int> inputs_;
};

}  // namespace sparsify
