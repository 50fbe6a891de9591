// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace sparsify {

/// An option that may be more than one number or text, such as `final_sparsity: {0.8: [conv1.weight]}`.
struct Value {
  enum class Kind { kNone, kBoolean, kNumber, kText, kList, kMapping };

  Kind kind = Kind::kNone;
  double number = 0;                                   ///< of a number; 1 or 0 for a boolean
  std::string text;                                    ///< of a text
  std::vector<Value> items;                            ///< of a list
  std::vector<std::pair<std::string, Value>> entries;  ///< of a mapping, in the order written

  Value() = default;
  Value(double value) : kind(Kind::kNumber), number(value) {}
  Value(const char* value) : kind(Kind::kText), text(value) {}
  Value(std::string value) : kind(Kind::kText), text(std::move(value)) {}
  static Value boolean(bool value) {
    Value result(value ? 1.0 : 0.0);
    result.kind = Kind::kBoolean;
    return result;
  }
  static Value list(std::vector<Value> items) {
    Value result;
    result.kind = Kind::kList;
    result.items = std::move(items);
    return result;
  }
  static Value mapping(std::vector<std::pair<std::string, Value>> entries) {
    Value result;
    result.kind = Kind::kMapping;
    result.entries = std::move(entries);
    return result;
  }

  bool is(Kind wanted) const { return kind == wanted; }
  /// The value of a mapping's key, or null.
  const Value* find(const std::string& key) const {
    for (const auto& [name, value] : entries)
      if (name == key) return &value;
    return nullptr;
  }
  friend bool operator==(const Value& a, const Value& b) {
    return a.kind == b.kind && a.number == b.number && a.text == b.text && a.items == b.items &&
           a.entries == b.entries;
  }
  friend bool operator!=(const Value& a, const Value& b) { return !(a == b); }
};

/// "nothing", "a list", "'abc'": for messages about a value of the wrong kind.
inline std::string describe(const Value& value) {
  switch (value.kind) {
    case Value::Kind::kNone:
      return "nothing";
    case Value::Kind::kBoolean:
      return value.number != 0 ? "true" : "false";
    case Value::Kind::kNumber:
      return std::to_string(value.number);
    case Value::Kind::kText:
      return "'" + value.text + "'";
    case Value::Kind::kList:
      return "a list";
    case Value::Kind::kMapping:
      return "a mapping";
  }
  return "";
}

}  // namespace sparsify
