// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "sparsify/error.hpp"

namespace sparsify {

/// An expression cannot be evaluated; `offset` is the byte it fails at.
class ExpressionError : public Error {
 public:
  ExpressionError(std::size_t offset, const std::string& message) : Error(message), offset_(offset) {}
  std::size_t offset() const { return offset_; }

 private:
  std::size_t offset_;
};

/// The inside of "eval(...)" when `text` is one, else nothing.
std::optional<std::string> expression_in(const std::string& text);

/// Gives a variable's text, or throws ExpressionError at the offset it is handed.
using Lookup = std::function<std::string(const std::string& name, std::size_t offset)>;

/// Evaluates + - * / // % **, unary minus, parentheses, abs min max round int float and variables, with
/// Python's meaning
/// (`//` and `%` round down, round() halves to even, `**` binds right and tighter than minus). A lone name
/// gives its text as it is, a number otherwise. Depth and size are bounded. Throws ExpressionError.
std::string evaluate(const std::string& expression, const Lookup& lookup);

}  // namespace sparsify
