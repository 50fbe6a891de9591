// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "sparsify/state.hpp"

namespace sparsify {
namespace detail {

/// Claims with their owners, by what is claimed.
using Claims = std::map<std::string, std::vector<std::pair<Claim, std::string>>>;

/// Two modifiers want what cannot be at the same time.
struct Conflict {
  std::string text;
  bool both_set;  ///< so that the later one can have the last word
};

inline std::string conflict_text(const Claim& claim, const Claim& other, const std::string& owner) {
  if (claim.part == Claim::kReader) return "relies on " + claim.what + ", which " + owner + " changes";
  if (other.part == Claim::kReader) return "changes " + claim.what + ", which " + owner + " relies on";
  return "sets " + claim.what + " while " + owner + " does too";
}

/// With whom the claims of one modifier overlap, and how: the worst for each owner.
inline std::map<std::string, Conflict> conflicts_of(const std::vector<Claim>& claims, const Claims& earlier) {
  std::map<std::string, Conflict> conflicts;
  for (const auto& claim : claims) {
    const auto same = earlier.find(claim.what);
    if (same == earlier.end()) continue;
    for (const auto& [other, owner] : same->second) {
      if (claim.first >= other.end || other.first >= claim.end || !claim.excludes(other)) continue;
      const bool both_set = claim.part != Claim::kReader && other.part != Claim::kReader;
      const auto known = conflicts.find(owner);
      if (known == conflicts.end() || (known->second.both_set && !both_set))
        conflicts[owner] = {conflict_text(claim, other, owner), both_set};
    }
  }
  return conflicts;
}

}  // namespace detail
}  // namespace sparsify
