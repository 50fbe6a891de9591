// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "node.hpp"
#include "sparsify/load_recipe.hpp"

namespace sparsify {

/// The text of a recipe, to point into it.
class Source {
 public:
  Source(std::string file, const std::string& text);

  const std::string& file() const { return file_; }
  const std::vector<std::string>& lines() const { return lines_; }
  /// "file:line:column", counted from 1, columns in characters.
  std::string where(yaml::Mark mark) const;
  RecipeProblem problem(yaml::Mark mark, const std::string& message) const;
  /// The message with its place, the line and a caret.
  std::string show(const RecipeProblem& problem) const;

 private:
  std::string file_;
  std::vector<std::string> lines_;
};

/// Collects mistakes, so that one run reports all of them.
class Diagnostics {
 public:
  explicit Diagnostics(const Source& source) : source_(source) {}

  const Source& source() const { return source_; }
  void add(yaml::Mark mark, const std::string& message);
  std::size_t count() const { return problems_.size(); }
  /// Throws RecipeError with all of them in the file's order, if there are any.
  void raise();

 private:
  const Source& source_;
  std::vector<RecipeProblem> problems_;
};

/// Throws RecipeError with one problem.
[[noreturn]] void fail(const Source& source, yaml::Mark mark, const std::string& message);

}  // namespace sparsify
