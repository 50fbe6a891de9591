// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <string>

#include "node.hpp"

namespace sparsify {

/// Whether an entry is a group of modifiers; SparseML takes names that hold the word anywhere.
inline bool is_group(const std::string& key, const yaml::Ref& value, bool is_sparseml) {
  return key.ends_with("modifiers") || (is_sparseml && value.node->kind != yaml::Kind::kScalar &&
                                        key.find("modifiers") != std::string::npos);
}

/// A mapping with groups of modifiers in it.
inline bool is_stage(const yaml::Ref& value, bool is_sparseml = false) {
  const auto& entries = value.node->entries;
  return value.node->kind == yaml::Kind::kMapping &&
         std::any_of(entries.begin(), entries.end(), [&](const auto& entry) {
           return is_group(entry.first.node->text, entry.second, is_sparseml);
         });
}

}  // namespace sparsify
