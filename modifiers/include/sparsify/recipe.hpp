// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "sparsify/fields.hpp"
#include "sparsify/modifier.hpp"

namespace sparsify {

/// An ordered list of modifiers with their options: a value, bound to a model by a Session, as often as
/// wanted.
class Recipe {
 public:
  struct Entry {
    std::string type;   ///< as in YAML, e.g. "MagnitudePruningModifier"
    std::string where;  ///< "file:line:column", empty for recipes built in C++
    std::function<std::unique_ptr<Modifier>()> make;
    std::function<void(FieldVisitor&)> visit_fields;
    double offset = 0;  ///< epoch from which the modifier's own epochs count: where its stage begins
    Window window;      ///< in epochs of the whole run

    /// For messages: "pruned.yaml:7:5: MagnitudePruningModifier".
    std::string label() const { return where.empty() ? type : where + ": " + type; }
  };

  /// Adds a modifier; throws InvalidField at once when an option is out of range.
  template <class M>
  Recipe& add(typename M::Options options = {}, std::string where = "") {
    LimitCheck check;
    FieldVisitor& visit = check;
    options.fields(visit);
    Entry entry;
    entry.type = M::kName;
    entry.where = std::move(where);
    entry.window = M(options).window();
    entry.make = [options] { return std::make_unique<M>(options); };
    entry.visit_fields = [options](FieldVisitor& visit) mutable { options.fields(visit); };
    entries_.push_back(std::move(entry));
    return *this;
  }

  /// Adds all modifiers of a stage that begins at an epoch.
  Recipe& append(const Recipe& stage, double start_epoch = 0) {
    for (auto entry : stage.entries_) {
      entry.offset += start_epoch;
      entry.window = entry.window.shifted(start_epoch);
      entries_.push_back(std::move(entry));
    }
    return *this;
  }

  const std::vector<Entry>& entries() const { return entries_; }

  /// Whether two modifiers may set the same thing at the same time: noted, and the later entry has the last
  /// word. Only for recipes in SparseML's dialect, which rely on it.
  bool overlaps_allowed = false;

  /// What a parameter of ours is called in an implementation of the same network that the recipe was written
  /// for; empty: as here. Selectors that match no name of the model's are tried on these.
  std::function<std::string(const std::string& name)> other_name;

  /// Puts entries in another order; the sort is stable.
  template <class Before>
  void sort(Before before) {
    std::stable_sort(entries_.begin(), entries_.end(), before);
  }

  /// The epoch at which the last modifier has started and ended; 0 for an empty recipe.
  double last_epoch() const {
    double last = 0;
    for (const auto& entry : entries_)
      last = std::max({last, entry.window.start_epoch, entry.window.end_epoch});
    return last;
  }
  /// The same rounded up: how long training lasts.
  std::int64_t epochs() const { return static_cast<std::int64_t>(std::ceil(last_epoch())); }

 private:
  std::vector<Entry> entries_;
};

}  // namespace sparsify
