// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include <nlohmann/json_fwd.hpp>

namespace sparsify {

/// A JSON schema (draft 7) of recipes, from the fields of the registered modifiers: for editors.
nlohmann::json recipe_schema();

/// The reference page, Markdown, from the same source: modifiers and their fields, keys of `run`, selectors,
/// and what becomes of SparseML's modifiers and parameters.
std::string recipe_reference();

}  // namespace sparsify
