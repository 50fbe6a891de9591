// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <limits>
#include <string>
#include <utility>

#include "sparseml.hpp"

namespace sparsify::sparseml {
namespace {

bool acts_once(const std::string& type) {
  return type == "SetLearningRateModifier" || type == "SetWeightDecayModifier" || type == "SetParamModifier";
}

bool comes_before(const Recipe::Entry& a, const Recipe::Entry& b) {
  const auto key = [](const Recipe::Entry& entry) {
    const double never = std::numeric_limits<double>::infinity();
    const double end = entry.window.end_epoch < 0 ? never : entry.window.end_epoch;
    return std::pair(acts_once(entry.type) ? -1.0 : end, entry.window.start_epoch);
  };
  return key(a) < key(b);
}

}  // namespace

void sort(Recipe& recipe) { recipe.sort(comes_before); }

bool is_sorted(const Recipe& recipe) {
  return std::is_sorted(recipe.entries().begin(), recipe.entries().end(), comes_before);
}

}  // namespace sparsify::sparseml
