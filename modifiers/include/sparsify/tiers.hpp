// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdlib>
#include <string>
#include <vector>

#include "sparsify/error.hpp"
#include "sparsify/value.hpp"

namespace sparsify {

/// A number, and the selectors of the parameters that it is for.
struct Tier {
  double number = 0;
  std::vector<std::string> params;
};

namespace detail {
inline std::vector<std::string> selectors_in(const char* field, const Value& value) {
  if (value.is(Value::Kind::kText)) return {value.text};
  std::vector<std::string> texts;
  for (const auto& item : value.items)
    if (item.is(Value::Kind::kText)) texts.push_back(item.text);
  if (!value.is(Value::Kind::kList) || texts.size() != value.items.size() || texts.empty())
    throw InvalidField(field, "expected selectors below each number, got " + describe(value));
  return texts;
}
}  // namespace detail

/// The tiers of a mapping from numbers to selectors, such as `{0.8: [conv1.weight], 0.5: [__ALL__]}`, in the
/// order written. Throws InvalidField.
inline std::vector<Tier> read_tiers(const char* field, const Value& mapping) {
  if (mapping.entries.empty()) throw InvalidField(field, "the mapping is empty");
  std::vector<Tier> tiers;
  for (const auto& [key, selectors] : mapping.entries) {
    char* end = nullptr;
    const double number = std::strtod(key.c_str(), &end);
    if (key.empty() || *end != '\0') throw InvalidField(field, "expected numbers as keys, got '" + key + "'");
    tiers.push_back({number, detail::selectors_in(field, selectors)});
  }
  return tiers;
}

}  // namespace sparsify
