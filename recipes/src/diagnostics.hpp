// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <string>
#include <vector>

#include "node.hpp"
#include "sparsify/load_recipe.hpp"

namespace sparsify {

/// The text of one file, to point into it. `index`: as in the marks of its nodes.
class Source {
 public:
  Source(int index, std::string file, const std::string& text);

  int index() const { return index_; }
  const std::string& file() const { return file_; }
  const std::vector<std::string>& lines() const { return lines_; }
  /// "file:line:column", counted from 1, columns in characters.
  std::string where(yaml::Mark mark) const;
  RecipeProblem problem(yaml::Mark mark, const std::string& message) const;
  /// The message with its place, the line and a caret.
  std::string show(const RecipeProblem& problem) const;

 private:
  int index_;
  std::string file_;
  std::vector<std::string> lines_;
};

/// The files a recipe is made of: itself, and those it extends.
class Sources {
 public:
  /// The reference stays valid.
  const Source& add(const std::string& file, const std::string& text);
  const Source& of(yaml::Mark mark) const { return all_[static_cast<std::size_t>(mark.file)]; }
  std::string where(yaml::Mark mark) const { return of(mark).where(mark); }

 private:
  std::deque<Source> all_;
};

/// Collects mistakes, so that one run reports all of them, and warnings.
class Diagnostics {
 public:
  explicit Diagnostics(const Sources& sources) : sources_(sources) {}

  const Sources& sources() const { return sources_; }
  void add(yaml::Mark mark, const std::string& message);
  std::size_t count() const { return problems_.size(); }
  /// Throws RecipeError with all of them in the files' order, if there are any.
  void raise();

  void warn(yaml::Mark mark, const std::string& message);
  const std::vector<std::string>& warnings() const { return warnings_; }

 private:
  struct Found {
    int file;
    RecipeProblem problem;
  };
  const Sources& sources_;
  std::vector<Found> problems_;
  std::vector<std::string> warnings_;
};

/// Throws RecipeError with one problem.
[[noreturn]] void fail(const Source& source, yaml::Mark mark, const std::string& message);

}  // namespace sparsify
