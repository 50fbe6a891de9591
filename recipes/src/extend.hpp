// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "diagnostics.hpp"
#include "node.hpp"

namespace sparsify {

/// A recipe after everything it extends is laid below it.
struct Extended {
  yaml::Ref root;
  std::string text;  ///< one YAML text that says the same: each document extends the one before it
};

/// Parses a recipe file and the recipes it names in `extends:`, and merges them. A key of the extending
/// recipe replaces the base's: a variable also where it is used through an anchor, a group of modifiers as a
/// whole (`name:` without a value removes it), stages, `run` and `metadata` key by key. Throws RecipeError.
Extended parse_extended(const std::string& text, const std::string& file_name, Sources& sources);

}  // namespace sparsify
