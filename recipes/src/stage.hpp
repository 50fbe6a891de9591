// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <string>

#include "node.hpp"

namespace sparsify {

inline bool names_modifiers(const std::string& key) { return key.ends_with("modifiers"); }

/// A mapping with groups of modifiers in it.
inline bool is_stage(const yaml::Ref& value) {
  const auto& entries = value.node->entries;
  return value.node->kind == yaml::Kind::kMapping &&
         std::any_of(entries.begin(), entries.end(),
                     [](const auto& entry) { return names_modifiers(entry.first.node->text); });
}

}  // namespace sparsify
