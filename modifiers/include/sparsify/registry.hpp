// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "sparsify/recipe.hpp"

namespace sparsify {

/// The modifiers that recipes can name.
class Registry {
 public:
  struct Type {
    std::string name;
    /// Reads the options through the visitor, then adds the modifier to the recipe.
    std::function<void(Recipe&, FieldVisitor& read, std::string where)> add;
    /// Visits the options at their defaults: for documentation and for suggestions.
    std::function<void(FieldVisitor&)> visit_defaults;
  };

  /// Makes `M` available as `M::kName` and under the aliases. The same modifier may be added again (two
  /// libraries may both hold the header); another one under a taken name is remembered as an error, reported
  /// by `find` and `types`.
  template <class M>
  bool add(const std::vector<std::string>& aliases = {}) {
    Type type;
    type.name = M::kName;
    type.add = [](Recipe& recipe, FieldVisitor& read, std::string where) {
      typename M::Options options;
      options.fields(read);
      recipe.add<M>(std::move(options), std::move(where));
    };
    type.visit_defaults = [](FieldVisitor& visit) {
      typename M::Options options;
      options.fields(visit);
    };
    insert(type.name, type);
    for (const auto& alias : aliases) insert(alias, type);
    return true;
  }

  /// The modifier called `name`, or null.
  const Type* find(const std::string& name) const {
    if (!conflict_.empty()) throw Error(conflict_);
    const auto found = types_.find(name);
    return found == types_.end() ? nullptr : &found->second;
  }

  /// All names, aliases included.
  const std::map<std::string, Type>& types() const { return types_; }

 private:
  void insert(const std::string& name, const Type& type) {
    const auto [existing, is_new] = types_.emplace(name, type);
    if (!is_new && existing->second.name != type.name)
      conflict_ =
          "two modifiers are registered as '" + name + "': " + existing->second.name + " and " + type.name;
  }

  std::map<std::string, Type> types_;
  std::string
      conflict_;  // registration runs before main, where an exception would end the program without a message
};

/// The one registry of the process, also when several shared libraries include this header.
__attribute__((visibility("default"))) inline Registry& registry() {
  static Registry instance;
  return instance;
}

}  // namespace sparsify

/// Registers a modifier when its header is linked in anywhere; `sparsify::registry().add<M>()` does the same
/// by hand.
#define SPARSIFY_REGISTER_MODIFIER(Class) \
  inline const bool sparsify_registered_##Class = ::sparsify::registry().add<Class>()
