// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "sparsify/load_recipe.hpp"
#include "workflow/input_error.hpp"

namespace sparsify {

/// "k=v" of every --recipe-arg. Throws InputError for anything else and for a name given twice.
inline RecipeArguments read_recipe_arguments(const std::vector<std::string>& texts) {
  RecipeArguments arguments;
  for (const auto& text : texts) {
    const auto equals = text.find('=');
    if (equals == std::string::npos || equals == 0)
      throw InputError("--recipe-arg '" + text + "': expected name=value, such as sparsity=0.9");
    if (!arguments.emplace(text.substr(0, equals), text.substr(equals + 1)).second)
      throw InputError("--recipe-arg " + text.substr(0, equals) + " is given more than once");
  }
  return arguments;
}

}  // namespace sparsify
