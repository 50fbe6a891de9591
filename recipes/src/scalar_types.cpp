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

}  // namespace sparsify
