// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "diagnostics.hpp"
#include "node.hpp"
#include "sparsify/load_recipe.hpp"

namespace sparsify {

/// A scalar as a field sees it: variables filled in, expressions evaluated.
struct Scalar {
  std::string text;
  bool quoted = false;  ///< text, never a number
};

/// A value cannot be used; `mark` is the place to point at.
class ValueError : public Error {
 public:
  ValueError(yaml::Mark mark, const std::string& message) : Error(message), mark_(mark) {}
  yaml::Mark mark() const { return mark_; }

 private:
  yaml::Mark mark_;
};

/// The top-level scalars of a recipe, and `eval(...)` over them.
class Variables {
 public:
  void add(const std::string& name, const yaml::Ref& value, yaml::Mark name_mark);

  /// Replaces values before anything is read: an anchored scalar changes for all its aliases.
  /// Throws RecipeError for a name that is no variable.
  void override_with(const RecipeArguments& arguments, const std::string& file);

  /// The scalar at `value`. Throws ValueError for anything but a scalar (`expected` is named in the message),
  /// a tag, and expressions that fail.
  Scalar resolve(const yaml::Ref& value, const std::string& expected);

  /// Reports every variable that nothing referred to.
  void report_unused(Diagnostics& diagnostics) const;

 private:
  struct Variable {
    yaml::Ref value;
    yaml::Mark name_mark;
    bool used = false;
  };

  std::string lookup(const std::string& name, std::size_t offset);
  std::string run(const std::string& expression, const yaml::Ref& at);
  std::vector<std::string> names() const;

  std::map<std::string, Variable> variables_;
  std::map<std::string, std::string>
      results_;                       // each is evaluated once, or chains of references would take for ever
  std::vector<std::string> pending_;  // being evaluated, to find cycles
};

}  // namespace sparsify
