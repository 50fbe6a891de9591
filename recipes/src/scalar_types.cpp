// SPDX-License-Identifier: Apache-2.0
#include "scalar_types.hpp"

#include "expression.hpp"
#include "number.hpp"

namespace sparsify {
namespace {

[[noreturn]] void wrong(const yaml::Ref& value, const Scalar& scalar, const std::string& expected) {
  std::string message = "expected " + expected + ", got " + describe(value);
  if (expression_in(value.node->text)) message += ", which is '" + scalar.text + "'";
  throw ValueError(value.mark, message);
}

}  // namespace

bool read_boolean(const yaml::Ref& value, Variables& variables) {
  const std::string expected = "true or false";
  const auto scalar = variables.resolve(value, expected);
  const auto& text = scalar.text;
  if (!scalar.quoted && (text == "true" || text == "True" || text == "TRUE")) return true;
  if (!scalar.quoted && (text == "false" || text == "False" || text == "FALSE")) return false;
  wrong(value, scalar, expected);
}

std::int64_t read_integer(const yaml::Ref& value, Variables& variables) {
  const std::string expected = "a whole number";
  const auto scalar = variables.resolve(value, expected);
  const auto number = scalar.quoted ? std::nullopt : parse_integer(scalar.text);
  if (!number) wrong(value, scalar, expected);
  return *number;
}

double read_number(const yaml::Ref& value, Variables& variables) {
  const std::string expected = "a number";
  const auto scalar = variables.resolve(value, expected);
  const auto number = scalar.quoted ? std::nullopt : parse_number(scalar.text);
  if (!number) wrong(value, scalar, expected);
  return *number;
}

std::string read_text(const yaml::Ref& value, Variables& variables) {
  return variables.resolve(value, "text").text;
}

Value read_value(const yaml::Ref& written, Variables& variables) {
  const auto value = variables.follow(written);
  const auto& node = *value.node;
  if (!node.tag.empty()) throw ValueError(value.mark, "the tag '" + node.tag + "' has no meaning here");
  switch (node.kind) {
    case yaml::Kind::kNull:
      return {};
    case yaml::Kind::kSequence: {
      std::vector<Value> items;
      for (const auto& item : node.items) items.push_back(read_value(item, variables));
      return Value::list(std::move(items));
    }
    case yaml::Kind::kMapping: {
      std::vector<std::pair<std::string, Value>> entries;
      for (const auto& [key, item] : node.entries) {
        auto name = read_text(key, variables);
        for (const auto& [known, value] : entries)  // two expressions may have one value
          if (known == name) throw ValueError(key.mark, "'" + name + "' is given twice");
        entries.emplace_back(std::move(name), read_value(item, variables));
      }
      return Value::mapping(std::move(entries));
    }
    case yaml::Kind::kScalar:
      break;
  }
  const auto scalar = variables.resolve(value, "a value");
  if (scalar.quoted) return scalar.text;
  if (const auto number = parse_number(scalar.text)) return *number;
  if (scalar.text == "true" || scalar.text == "True" || scalar.text == "TRUE") return Value::boolean(true);
  if (scalar.text == "false" || scalar.text == "False" || scalar.text == "FALSE")
    return Value::boolean(false);
  return scalar.text;
}

}  // namespace sparsify
