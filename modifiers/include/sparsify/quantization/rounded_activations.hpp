// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <c10/core/InferenceMode.h>

#include <functional>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "sparsify/graph/operators.hpp"
#include "sparsify/quantization/histogram.hpp"
#include "sparsify/quantization/learned_scales.hpp"
#include "sparsify/quantization/quantizers.hpp"

namespace sparsify {

/// The tensors of one forward pass that lie on grids, or will when somebody asks. Each is rounded once.
class RoundedActivations {
 public:
  /// Gets every tensor that the plan rounds, rounded, in the order of computation: the call site that made it
  /// ("....sigmoid" inside a SiLU) and its quantizer.
  using Watch = std::function<void(const std::string& site, int quantizer, const at::Tensor& rounded)>;
  struct Settings {
    bool training = true;
    bool observe = true;                           ///< ranges go on moving
    std::vector<Histogram>* histograms = nullptr;  ///< of the plan's activations: counts what it observes
    bool round = true;                             ///< false: ranges are observed in floating point
    const std::vector<at::Tensor>* scale_gradients = nullptr;  ///< of the plan's activations: what learns
                                                               ///< their scales, where defined
    Watch watch{};                                             ///< in evaluation only: it rounds once more
  };

  struct Entry {
    TensorOwner owner;
    int quantizer;
    std::optional<Holds> holds{};  ///< what the tensor itself holds; none: it has not been rounded
    std::optional<Clip> awaits{};  ///< the ReLU that follows has been computed already
    bool observed = false;
    at::Tensor values{}, integers{};  ///< rounded copies; undefined until somebody reads
  };

  RoundedActivations(const Quantizers& quantizers, Settings settings)
      : quantizers_(quantizers), settings_(settings), batch_(quantizers.plan().activations.size()) {}

  const Settings& settings() const { return settings_; }

  /// What every quantizer saw in the pass.
  const std::vector<Extent>& seen() const { return batch_; }

  /// To be rounded when the first reader asks, unless it `holds` rounded numbers already.
  Entry& add(const at::Tensor& tensor, int quantizer, std::optional<Holds> holds = std::nullopt) {
    for (auto entry = entries_.begin(); entry != entries_.end();)  // nobody can read these any more
      entry = entry->second.owner.expired() ? entries_.erase(entry) : std::next(entry);
    last_of_storage_[storage_of(tensor)] = tensor.unsafeGetTensorImpl();
    Entry entry{TensorOwner(tensor.getIntrusivePtr()), quantizer};
    entry.holds = holds;
    entry.observed = holds.has_value();
    return entries_.insert_or_assign(tensor.unsafeGetTensorImpl(), std::move(entry)).first->second;
  }

  /// In evaluation: the integers that the call at `site` gives. Behind a ReLU, its call shows them.
  void add_integers_of(const std::string& site, const at::Tensor& integers, Quantizers::Rounding rounding) {
    add(integers, rounding.quantizer, Holds::kIntegers).awaits = rounding.behind;
    if (!rounding.behind) show(site, rounding.quantizer, integers);
  }

  /// A tensor of the caller, which must not be written.
  void add_captured(const at::Tensor& tensor, int quantizer) {
    add(tensor, quantizer);
    captured_.insert(tensor.unsafeGetTensorImpl());
  }

  bool knows(const at::Tensor& tensor) const { return entries_.count(tensor.unsafeGetTensorImpl()) > 0; }

  /// Makes an ordinary tensor of one that nobody has read; false: it is one.
  bool forget(const at::Tensor& tensor) { return entries_.erase(tensor.unsafeGetTensorImpl()) > 0; }

  /// Null: not one of them. Also through a TensorImpl made without an operator, as by `tensor.data()`.
  Entry* find(const at::Tensor& tensor) {
    if (!tensor.defined() || entries_.empty()) return nullptr;
    const auto found = entries_.find(tensor.unsafeGetTensorImpl());
    if (found != entries_.end()) return &found->second;
    const auto last = last_of_storage_.find(storage_of(tensor));
    if (last == last_of_storage_.end()) return nullptr;
    const auto alias = entries_.find(last->second);
    if (alias == entries_.end()) return nullptr;
    const auto owner = alias->second.owner.lock();
    const bool same = owner && owner->storage().unsafeGetStorageImpl() == storage_of(tensor) &&
                      same_view(*owner, *tensor.unsafeGetTensorImpl());
    return same ? &alias->second : nullptr;
  }

  /// The quantizer of those of an operator's tensors that are among them; -1: there are none, or several.
  int common_quantizer(const c10::IValue* arguments, std::size_t count) {
    std::unordered_set<int> quantizers;
    for (std::size_t i = 0; i < count; ++i)
      each_tensor(arguments[i], [&](const at::Tensor& tensor) {
        if (const auto* entry = find(tensor)) quantizers.insert(entry->quantizer);
      });
    return quantizers.size() == 1 ? *quantizers.begin() : -1;
  }

  /// Its values on the grid.
  at::Tensor values(const at::Tensor& tensor, Entry& entry) {
    if (entry.holds == Holds::kValues) return tensor;
    if (!settings_.round) return observe(tensor, entry), tensor;
    if (fits(entry.values, tensor)) return entry.values;
    const bool has_integers = entry.holds == Holds::kIntegers || fits(entry.integers, tensor);
    entry.values =
        has_integers
            ? integers(tensor, entry).mul(static_cast<double>(quantizers_.grid(entry.quantizer).scale))
            : round(tensor, entry, Holds::kValues);
    return entry.values;
  }

  /// Whether a quantizer gives integers too: it has a range, and its scale is not learned.
  bool gives_integers(int quantizer) const {
    return settings_.round && has_range(quantizer) && !learns(quantizer);
  }

  /// Its integers less the zero point, if the quantizer gives them.
  at::Tensor integers(const at::Tensor& tensor, Entry& entry) {
    if (entry.holds == Holds::kIntegers) return tensor;
    if (!fits(entry.integers, tensor)) entry.integers = round(tensor, entry, Holds::kIntegers);
    return entry.integers;
  }

  /// A tensor is about to be written in place by an operator that reads it: what it holds become the values.
  /// After that it is an ordinary one.
  void settle(const at::Tensor& tensor, Entry& entry, bool is_read) {
    if (is_read && entry.holds == Holds::kIntegers)
      at::Tensor(tensor).mul_(static_cast<double>(quantizers_.grid(entry.quantizer).scale));
    else if (is_read && !entry.holds && !captured_.count(tensor.unsafeGetTensorImpl()))
      round_in_place(tensor, entry);
    entries_.erase(entry.owner._unsafe_get_target());
  }

  /// Where to note the extent of what a quantizer rounds; null: nowhere.
  Extent* seen(int quantizer, const at::Tensor& tensor) {
    if (!settings_.training || !settings_.observe) return nullptr;
    if (settings_.histograms) (*settings_.histograms)[static_cast<std::size_t>(quantizer)].add(tensor);
    return &batch_[static_cast<std::size_t>(quantizer)];
  }

  // The first batch of all is measured before it is rounded; later ones are rounded with what came before.
  Grid grid(int quantizer, const at::Tensor& tensor) const {
    if (has_range(quantizer) || !settings_.training) return quantizers_.grid(quantizer);
    Extent first = batch_[static_cast<std::size_t>(quantizer)];
    first.merge(extent_of(tensor));
    const auto& entry = quantizers_.plan().activations[static_cast<std::size_t>(quantizer)];
    return make_grid(first, entry.range, entry.non_negative);
  }

  bool has_range(int quantizer) const {
    return quantizers_.ranges()[static_cast<std::size_t>(quantizer)].batches > 0;
  }
  /// Whether the caller gets what the quantizer rounds.
  bool is_returned(int quantizer) const {
    return quantizers_.plan().activations[static_cast<std::size_t>(quantizer)].returned;
  }
  /// Whether a quantizer may be part of a fused kernel, which notes no more than the extent of what it sees.
  bool can_be_fused(int quantizer) const {
    const bool counts = settings_.training && settings_.observe && settings_.histograms;
    return gives_integers(quantizer) && !counts && !is_returned(quantizer);
  }

  /// After an evaluation: what the caller keeps of its tensors becomes the values that an exported file
  /// gives.
  void settle_all() {
    const c10::InferenceMode in_place_whatever_it_is;
    std::unordered_set<const void*> settled;  // a tensor may have several names
    for (auto& [impl, entry] : entries_) {
      const auto owner = entry.owner.lock();
      if (!owner || !has_range(entry.quantizer)) continue;
      const at::Tensor tensor(owner);
      if (!settled.insert(storage_of(tensor)).second) continue;
      const auto grid = quantizers_.grid(entry.quantizer);
      if (entry.holds == Holds::kIntegers)
        tensor.mul_(static_cast<double>(grid.scale));
      else if (!entry.holds && settings_.round && !quantizers_.rounds_input(entry.quantizer) &&
               !tensor.requires_grad())
        fake_quantize_(tensor, grid, nullptr);
    }
    entries_.clear();
  }

  /// Shows what a tensor is rounded to, if anybody watches.
  void show(const std::string& site, int quantizer, const at::Tensor& tensor) {
    if (!settings_.watch) return;
    const auto* entry = find(tensor);
    const bool has_integers = entry && entry->holds == Holds::kIntegers;
    const auto grid = quantizers_.grid(quantizer);
    settings_.watch(site, quantizer,
                    has_integers ? tensor.mul(static_cast<double>(grid.scale)) : fake_quantize(tensor, grid));
  }

  /// A tensor that no entry is made for, rounded.
  at::Tensor round_once(const at::Tensor& tensor, int quantizer) {
    Entry entry{TensorOwner(tensor.getIntrusivePtr()), quantizer};
    return values(tensor, entry);
  }

 private:
  // A reader without gradients must not leave its copy to one that wants them.
  static bool fits(const at::Tensor& copy, const at::Tensor& tensor) {
    return copy.defined() && detail::wants_gradient(tensor) == copy.requires_grad();
  }

  bool learns(int quantizer) const {
    return settings_.scale_gradients && at::GradMode::is_enabled() &&
           (*settings_.scale_gradients)[static_cast<std::size_t>(quantizer)].defined();
  }

  void observe(const at::Tensor& tensor, Entry& entry) {
    if (auto* seen = observer(entry, tensor)) seen->merge(extent_of(tensor));
  }

  void round_in_place(const at::Tensor& tensor, Entry& entry) {
    if (!settings_.round)
      observe(tensor, entry);
    else if (learns(entry.quantizer))
      tensor.copy_(round(tensor.clone(), entry, Holds::kValues));
    else
      fake_quantize_(tensor, grid(entry.quantizer, tensor), observer(entry, tensor));
  }

  at::Tensor round(const at::Tensor& tensor, Entry& entry, Holds holds) {
    const auto rounds_to = grid(entry.quantizer, tensor);
    if (learns(entry.quantizer))
      return fake_quantize_learned(
          tensor, (*settings_.scale_gradients)[static_cast<std::size_t>(entry.quantizer)], rounds_to);
    return fake_quantize(tensor, rounds_to, observer(entry, tensor), holds);
  }

  Extent* observer(Entry& entry, const at::Tensor& tensor) {
    return std::exchange(entry.observed, true) ? nullptr : seen(entry.quantizer, tensor);
  }

  const Quantizers& quantizers_;
  const Settings settings_;
  std::vector<Extent> batch_;
  std::unordered_map<const c10::TensorImpl*, Entry> entries_;
  std::unordered_map<const void*, const c10::TensorImpl*> last_of_storage_;
  std::unordered_set<const void*> captured_;
};

}  // namespace sparsify
