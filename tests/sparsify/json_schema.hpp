// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nlohmann/json.hpp>

namespace cli {

/// Whether a document fits a JSON schema (draft 7). Knows the words that `sparsify recipe schema` uses, and
/// throws std::runtime_error for any other that would restrict something.
bool fits(const nlohmann::json& document, const nlohmann::json& schema);

}  // namespace cli
