// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "diagnostics.hpp"
#include "node.hpp"

namespace sparsify::yaml {

/// The one YAML document in `text`, with places, anchors kept shared, duplicate keys and merge keys refused,
/// and its size bounded: 32 levels, 100,000 nodes once aliases are expanded. Throws RecipeError. Null for a
/// text without content.
Ref parse(const std::string& text, const Source& source);

}  // namespace sparsify::yaml
