// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <memory>
#include <string>

#include "node.hpp"
#include "sparsify/value.hpp"

// Nodes that no file holds: fields that a translation adds, at the place of what it translates.

namespace sparsify {

inline yaml::Ref scalar(const std::string& text, yaml::Mark mark) {
  auto node = std::make_shared<yaml::Node>();
  node->kind = yaml::Kind::kScalar;
  node->text = text;
  node->mark = mark;
  node->complete = true;
  return {node, mark};
}

/// A text, a whole number, or a list or mapping of these.
inline yaml::Ref node_of(const Value& value, yaml::Mark mark) {
  if (value.is(Value::Kind::kNumber)) return scalar(std::to_string(std::llround(value.number)), mark);
  if (value.is(Value::Kind::kText)) return scalar(value.text, mark);
  auto node = std::make_shared<yaml::Node>();
  node->kind = value.is(Value::Kind::kList) ? yaml::Kind::kSequence : yaml::Kind::kMapping;
  node->complete = true;
  node->mark = mark;
  for (const auto& item : value.items) node->items.push_back(node_of(item, mark));
  for (const auto& [key, entry] : value.entries)
    node->entries.emplace_back(scalar(key, mark), node_of(entry, mark));
  return {node, mark};
}

}  // namespace sparsify
