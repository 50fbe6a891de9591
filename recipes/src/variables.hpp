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

/// The variables of a recipe or of one of its stages (scalars, or lists of them), and `eval(...)` over them.
class Variables {
 public:
  /// `outer`: where names are looked up that are not found here; must outlive this.
  explicit Variables(Variables* outer = nullptr) : outer_(outer) {}

  void add(const std::string& name, const yaml::Ref& value, yaml::Mark name_mark);

  bool has(const std::string& name) const { return variables_.count(name) > 0; }
  /// Replaces a value before anything is read: an anchored scalar changes for all its aliases.
  void override_with(const std::string& name, const yaml::Node& by);

  /// The scalar at `value`. Throws ValueError for anything but a scalar (`expected` is named in the message),
  /// a tag, and expressions that fail.
  Scalar resolve(const yaml::Ref& value, const std::string& expected);

  /// What `value` stands for: the list when it is `eval(name)` of a variable that holds one, else itself.
  yaml::Ref follow(const yaml::Ref& value);

  struct Unused {
    std::string name;
    yaml::Mark mark;
  };
  /// Every variable of this scope that nothing referred to.
  std::vector<Unused> unused() const;
  /// Of this scope and those around it.
  std::vector<std::string> names() const;

 private:
  struct Variable {
    yaml::Ref value;
    yaml::Mark name_mark;
    bool used = false;
  };

  std::string lookup(const std::string& name, std::size_t offset);
  bool knows(const std::string& name) const;
  std::string run(const std::string& expression, const yaml::Ref& at);

  Variables* outer_;
  std::map<std::string, Variable> variables_;
  std::map<std::string, std::string>
      results_;                       // each is evaluated once, or chains of references would take for ever
  std::vector<std::string> pending_;  // being evaluated, to find cycles
};

}  // namespace sparsify
