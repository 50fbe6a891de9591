// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "diagnostics.hpp"
#include "node.hpp"

namespace sparsify::yaml {

/// One of the documents in a file; `start`: where it begins, at its '---' when it has one.
struct Document {
  Ref root;
  Mark start;
};

/// The YAML documents in `text`, with places, anchors kept shared, duplicate keys and merge keys refused, and
/// their size bounded: 32 levels, 100,000 nodes once aliases are expanded. Throws RecipeError. At least one;
/// its root is null or of kind kNull for a text without content.
std::vector<Document> parse(const std::string& text, const Source& source);

}  // namespace sparsify::yaml
