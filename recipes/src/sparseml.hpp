// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "diagnostics.hpp"
#include "node.hpp"
#include "sparsify/load_recipe.hpp"
#include "sparsify/recipe.hpp"
#include "variables.hpp"

namespace sparsify::sparseml {

// Recipes written for SparseML: what its modifiers and their parameters are called here, and which cannot be
// had.

/// A modifier's entry in our words: renamed fields, what needs none left out with a warning, what cannot be
/// had reported with the reason. `name` is replaced when the modifier is called otherwise here. False when
/// the entry is to be passed over: reported, or not needed.
bool adapt(std::string& name, yaml::Node& fields, yaml::Mark mark, Variables& variables,
           Diagnostics& diagnostics);

/// What becomes of a modifier (`field` empty), of one of its parameters, or of a key of recipes themselves
/// (`modifier` empty), such as `stages`; null for what is here under its own name.
const SparseMLRule* rule_for(const std::string& modifier, const std::string& field);

/// What a parameter of our ResNets and ResNeXts is called in SparseML's; empty for others.
std::string resnet_name(const std::string& name);

/// SparseML's order, in which later modifiers have the last word: what acts once, then by end (never last),
/// then by start.
void sort(Recipe& recipe);
bool is_sorted(const Recipe& recipe);

}  // namespace sparsify::sparseml
