// SPDX-License-Identifier: Apache-2.0
#include "expression.hpp"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <vector>

#include "number.hpp"
#include "sparsify/suggest.hpp"

namespace sparsify {
namespace {

constexpr int kMaxDepth = 64;
constexpr std::size_t kMaxSize = 1000;
constexpr double kMaxInteger = 9007199254740992.0;  // 2^53: integers are exact in a double up to here

struct Number {
  double value = 0;
  bool integer = false;
};

bool starts_name(char c) { return std::isalpha(static_cast<unsigned char>(c)) || c == '_'; }
bool continues_name(char c) { return starts_name(c) || std::isdigit(static_cast<unsigned char>(c)); }

const std::vector<std::string>& function_names() {
  static const std::vector<std::string> names{"abs", "float", "int", "max", "min", "round"};
  return names;
}

class Parser {
 public:
  Parser(const std::string& text, const Lookup& lookup) : text_(text), lookup_(lookup) {}

  Number whole() {
    const auto result = sum();
    if (peek()) fail_at_character("expected an operator or the end, got '");
    return result;
  }

 private:
  [[noreturn]] void fail(const std::string& message) const { throw ExpressionError(at_, message); }

  [[noreturn]] void fail_at_character(std::string message) const {
    message += text_[at_];
    fail(message += "'");
  }

  char peek() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
    return at_ < text_.size() ? text_[at_] : '\0';
  }

  bool take(const char* symbol) {
    peek();
    const std::string wanted = symbol;
    if (text_.compare(at_, wanted.size(), wanted) != 0) return false;
    // "*" and "/" are not the first halves of "**" and "//".
    if (wanted.size() == 1 && (wanted == "*" || wanted == "/") && text_.compare(at_ + 1, 1, wanted) == 0)
      return false;
    at_ += wanted.size();
    return true;
  }

  Number checked(double value, bool integer, std::size_t at) const {
    if (!std::isfinite(value)) throw ExpressionError(at, "the result is not a finite number");
    if (integer && std::abs(value) > kMaxInteger) throw ExpressionError(at, "the result exceeds 2^53");
    return {value, integer};
  }

  Number sum() {
    auto left = product();
    for (;;) {
      const auto at = at_;
      if (take("+")) {
        const auto right = product();
        left = checked(left.value + right.value, left.integer && right.integer, at);
      } else if (take("-")) {
        const auto right = product();
        left = checked(left.value - right.value, left.integer && right.integer, at);
      } else {
        return left;
      }
    }
  }

  Number product() {
    auto left = signed_power();
    for (;;) {
      peek();
      const auto at = at_;
      const bool times = take("*"), floored = !times && take("//"), over = !times && !floored && take("/");
      if (!times && !floored && !over && !take("%")) return left;
      const auto right = signed_power();
      const bool integer = left.integer && right.integer;
      if (!times && right.value == 0) throw ExpressionError(at, "division by zero");
      const double quotient = times ? 0 : std::floor(left.value / right.value);
      if (times)
        left = checked(left.value * right.value, integer, at);
      else if (floored)
        left = checked(quotient, integer, at);
      else if (over)
        left = checked(left.value / right.value, false, at);
      else
        left = checked(left.value - quotient * right.value, integer, at);
    }
  }

  Number signed_power() {
    const Deeper deeper(*this);
    if (take("-")) {
      const auto operand = signed_power();
      return {-operand.value, operand.integer};
    }
    if (take("+")) return signed_power();
    const auto base = atom();
    peek();
    const auto at = at_;
    if (!take("**")) return base;
    const auto exponent = signed_power();
    return checked(std::pow(base.value, exponent.value),
                   base.integer && exponent.integer && exponent.value >= 0, at);
  }

  Number atom() {
    const char next = peek();
    if (next == '(') {
      ++at_;
      const auto inner = sum();
      if (!take(")")) fail("expected ')'");
      return inner;
    }
    if (starts_name(next)) return name();
    if (std::isdigit(static_cast<unsigned char>(next)) || next == '.') return literal();
    if (!next) fail("expected a number, a name or '(' before the end");
    fail_at_character("expected a number, a name or '(', got '");
  }

  Number literal() {
    const auto begin = at_;
    while (at_ < text_.size() && (continues_name(text_[at_]) || text_[at_] == '.' || exponent_sign(begin)))
      ++at_;
    return to_number(text_.substr(begin, at_ - begin), begin, "");
  }

  bool exponent_sign(std::size_t begin) const {
    return at_ > begin && (text_[at_] == '+' || text_[at_] == '-') &&
           (text_[at_ - 1] == 'e' || text_[at_ - 1] == 'E');
  }

  Number name() {
    const auto begin = at_;
    while (at_ < text_.size() && continues_name(text_[at_])) ++at_;
    const auto word = text_.substr(begin, at_ - begin);
    if (peek() != '(') return to_number(lookup_(word, begin), begin, word);
    if (std::find(function_names().begin(), function_names().end(), word) == function_names().end())
      throw ExpressionError(begin, "unknown function '" + word +
                                       "'; expected abs, float, int, max, min or round" +
                                       suggestion(word, function_names()));
    return call(word, begin);
  }

  Number call(const std::string& function, std::size_t begin) {
    take("(");
    std::vector<Number> operands;
    if (peek() != ')') {
      do operands.push_back(sum());
      while (take(","));
    }
    if (!take(")")) fail("expected ',' or ')'");
    const bool any_number = function == "min" || function == "max";
    if (operands.empty() || (!any_number && operands.size() != 1)) {
      const char* const wanted = any_number ? "one operand or more" : "one operand";
      throw ExpressionError(begin,
                            function + "() takes " + wanted + ", got " + std::to_string(operands.size()));
    }
    const auto& first = operands.front();
    const auto less = [](const Number& a, const Number& b) { return a.value < b.value; };
    if (function == "min") return *std::min_element(operands.begin(), operands.end(), less);
    if (function == "max") return *std::max_element(operands.begin(), operands.end(), less);
    if (function == "abs") return {std::abs(first.value), first.integer};
    if (function == "float") return {first.value, false};
    return checked(function == "int" ? std::trunc(first.value) : std::nearbyint(first.value), true, begin);
  }

  Number to_number(const std::string& text, std::size_t begin, const std::string& variable) const {
    const auto value = parse_number(text);
    if (!value && variable.empty()) throw ExpressionError(begin, "expected a number, got '" + text + "'");
    if (!value) throw ExpressionError(begin, "'" + variable + "' is '" + text + "', not a number");
    const bool integer = text.find_first_of(".eE") == std::string::npos && std::abs(*value) <= kMaxInteger;
    return {*value, integer};
  }

  struct Deeper {
    explicit Deeper(Parser& parser) : parser_(parser) {
      if (++parser_.depth_ > kMaxDepth) parser_.fail("nested more than 64 levels deep");
    }
    ~Deeper() { --parser_.depth_; }
    Parser& parser_;
  };

  const std::string& text_;
  const Lookup& lookup_;
  std::size_t at_ = 0;
  int depth_ = 0;
};

bool lone_name(const std::string& text) {
  return !text.empty() && starts_name(text.front()) && std::all_of(text.begin(), text.end(), continues_name);
}

}  // namespace

std::optional<std::string> expression_in(const std::string& text) {
  if (text.rfind("eval(", 0) != 0 || text.back() != ')') return std::nullopt;
  return text.substr(5, text.size() - 6);
}

std::string evaluate(const std::string& expression, const Lookup& lookup) {
  if (expression.size() > kMaxSize) throw ExpressionError(0, "the expression is longer than 1000 characters");
  const auto first = expression.find_first_not_of(' ');
  const auto last = expression.find_last_not_of(' ');
  if (first != std::string::npos && lone_name(expression.substr(first, last - first + 1)))
    return lookup(expression.substr(first, last - first + 1), first);
  return format_number(Parser(expression, lookup).whole().value);
}

}  // namespace sparsify
