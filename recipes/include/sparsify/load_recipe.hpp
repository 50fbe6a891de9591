// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "sparsify/error.hpp"
#include "sparsify/recipe.hpp"

namespace sparsify {

/// One mistake in a recipe. Line and column count from 1, columns in characters.
struct RecipeProblem {
  std::int64_t line = 0;
  std::int64_t column = 0;
  std::string message;
};

/// A recipe cannot be used. `what()` holds all problems found, in the file's order: each as
/// "file:line:column: message" with the line itself and a caret below it.
class RecipeError : public Error {
 public:
  explicit RecipeError(const std::string& what, std::vector<RecipeProblem> problems = {})
      : Error(what), problems_(std::move(problems)) {}
  const std::vector<RecipeProblem>& problems() const { return problems_; }

 private:
  std::vector<RecipeProblem> problems_;
};

/// New values for a recipe's variables by name, as text: {"num_epochs", "20"}, {"layers", "[conv1, fc]"}.
using RecipeArguments = std::map<std::string, std::string>;

/// A default for a command-line flag: its text, and "file:line:column" for messages.
struct RunDefault {
  std::string value;
  std::string where;
};

/// A whole recipe file.
struct RecipeFile {
  Recipe recipe;
  std::map<std::string, RunDefault> run;  ///< the `run:` mapping, keys as in run_keys()
  std::string version;
  std::string description;
  std::map<std::string, Value> metadata;  ///< a stage's as "NAME_stage.key"
  std::filesystem::path path;             ///< where it was found; for parse_recipe the given name
  /// The source without arguments; when it extends others, those are documents before it, so that the text
  /// says all.
  std::string text;
  bool sparseml = false;              ///< whether it was read in SparseML's dialect
  std::vector<std::string> warnings;  ///< each with its place
};

/// Loads a recipe by path or by name ("pruned_quant", "pruned_quant.yaml"): see find_recipe. YAML, JSON, or
/// the front matter of a Markdown file.
///
/// There are two dialects. Recipes with `version: 1` (or 1.0), or without tags, are ours: a variable that
/// nothing uses and modifiers that fight are errors. Others, tagged (`- !GMPruningModifier`) or with groups
/// that are mappings, are SparseML's: its names are understood, those two are warnings, and the modifier that
/// ends later has the last word.
///
/// Throws RecipeError when it is not found, cannot be read, or holds mistakes; nothing is ignored silently.
Recipe load_recipe(const std::string& name_or_path, const RecipeArguments& arguments = {});

/// The same with everything else the file says.
RecipeFile load_recipe_file(const std::string& name_or_path, const RecipeArguments& arguments = {});

/// Reads a recipe from text; `file_name` is for messages.
RecipeFile parse_recipe(const std::string& text, const std::string& file_name,
                        const RecipeArguments& arguments = {});

/// The recipe in canonical YAML: every field of every modifier, description, metadata and `run`; in
/// SparseML's dialect when overlaps are allowed. Loading it gives the same. Throws Error for what YAML
/// recipes cannot express: not a finite number, a text that reads as an expression, overlaps in an order of
/// one's own.
std::string write_recipe(const RecipeFile& file);
std::string write_recipe(const Recipe& recipe);

/// Where the recipe lies: the working directory first, then recipe_library(). ".yaml" may be left out.
/// Throws RecipeError listing what there is, and the nearest name.
std::filesystem::path find_recipe(const std::string& name_or_path);

/// The folders ready-made recipes are looked up in, first match wins: those of $SPARSIFY_RECIPES (separated
/// by ':'), share/sparsify/recipes beside the running program, this library's source and install folders.
/// Only those that exist.
std::vector<std::filesystem::path> recipe_library();

enum class RunKeyKind { kText, kInteger, kNumber, kBoolean };

/// A key of the `run:` mapping: the command-line flag of the same name ("batch_size" is --batch-size).
struct RunKey {
  std::string name;
  RunKeyKind kind;
};

const std::vector<RunKey>& run_keys();

/// What becomes of a SparseML modifier (`field` empty) or of one of its parameters (`modifier` "*": of any,
/// empty: of the recipe's own keys) that is not here under its own name.
struct SparseMLRule {
  enum class Fate { kRenamed, kTranslated, kNotNeeded, kUnsupported };
  std::string modifier;
  std::string field;
  Fate fate;
  std::string note;       ///< the new name, or the reason
  std::string only_if{};  ///< not needed if it has this value, unsupported otherwise
};

const std::vector<SparseMLRule>& sparseml_rules();

/// What SparseML takes for a parameter that is left out, where it is not our default: in its dialect it is
/// meant.
struct SparseMLDefault {
  std::string modifier, field, value;
};

const std::vector<SparseMLDefault>& sparseml_defaults();

/// Adds every modifier of this library to the registry; loading a recipe does so by itself.
void register_builtin_modifiers();

}  // namespace sparsify
