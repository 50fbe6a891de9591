// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "diagnostics.hpp"
#include "node.hpp"
#include "sparsify/recipe.hpp"
#include "variables.hpp"

namespace sparsify {

/// Reads one group, a list of `- !XModifier` or `- XModifier: {...}` or a mapping of the latter, onto the end
/// of `recipe`. Mistakes are collected; an entry that has any is left out.
void read_modifiers(const std::string& group, const yaml::Ref& modifiers, bool is_sparseml, Recipe& recipe,
                    Variables& variables, Diagnostics& diagnostics);

}  // namespace sparsify
