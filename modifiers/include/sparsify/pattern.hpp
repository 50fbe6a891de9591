// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <regex.h>

#include <cstring>
#include <string>

#include "sparsify/error.hpp"

namespace sparsify {
namespace detail {

/// A regular expression in Python's words, anchored at the start as `re.match` is, for the system's own POSIX
/// extended ones. Throws InvalidField for what these cannot say: lookarounds, flags, named groups.
class Pattern {
 public:
  explicit Pattern(const std::string& expression) : expression_(expression) {
    std::string posix = "^(";
    while (at_ < expression_.size()) posix += next();
    const int failure = regcomp(&compiled_, (posix + ")").c_str(), REG_EXTENDED | REG_NOSUB);
    if (failure == 0) return;
    char reason[128];
    regerror(failure, &compiled_, reason, sizeof reason);
    fail("is not a regular expression: " + std::string(reason));
  }
  ~Pattern() { regfree(&compiled_); }
  Pattern(const Pattern&) = delete;
  Pattern& operator=(const Pattern&) = delete;

  bool matches(const std::string& text) const {
    return regexec(&compiled_, text.c_str(), 0, nullptr, 0) == 0;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw InvalidField("params", "'re:" + expression_ + "' " + what);
  }

  bool take(const char* text) {
    if (expression_.compare(at_, std::strlen(text), text) != 0) return false;
    at_ += std::strlen(text);
    return true;
  }

  /// The next piece of the expression in POSIX's words.
  std::string next() {
    if (take("(?:")) return "(";
    if (expression_.compare(at_, 2, "(?") == 0)
      fail("uses '" + expression_.substr(at_, 3) +
           "...', which is not supported: lookarounds, flags and named groups are not; expected (?:...) or "
           "several selectors");
    if (take("\\d")) return "[0-9]";
    if (take("\\D")) return "[^0-9]";
    if (take("\\w")) return "[A-Za-z0-9_]";
    if (take("\\W")) return "[^A-Za-z0-9_]";
    if (take("[")) return bracket();
    const std::size_t length = expression_[at_] == '\\' && at_ + 1 < expression_.size() ? 2 : 1;
    const auto piece = expression_.substr(at_, length);
    at_ += length;
    // Whether as few as possible are taken first makes no difference to what matches.
    if (piece.find_first_of("*+?}") == 0) take("?");
    return piece;
  }

  /// The inside of [...]: POSIX has no escapes there, and gives three characters a meaning by their place.
  std::string bracket() {
    const bool excludes = take("^");
    std::string inside, first, last;
    bool is_first = true;
    for (; at_ < expression_.size() && (is_first || expression_[at_] != ']'); is_first = false) {
      const bool escaped = expression_[at_] == '\\' && at_ + 1 < expression_.size();
      if (take("\\d")) {
        inside += "0-9";
      } else if (take("\\w")) {
        inside += "A-Za-z0-9_";
      } else if (take("\\D") || take("\\W") || take("\\S")) {
        fail("uses '" + expression_.substr(at_ - 2, 2) + "' inside [...], which is not supported");
      } else {
        if (escaped) ++at_;
        const char c = expression_[at_++];
        if (c == ']')
          first = c;
        else if (c == '^' || (c == '-' && escaped))
          last.insert(c == '^' ? 0 : last.size(), 1, c);
        else
          inside += c;
      }
    }
    if (!take("]")) fail("is not a regular expression: a '[' is not closed");
    if (!excludes && first.empty() && inside.empty() && last == "^") return "\\^";
    return (excludes ? "[^" : "[") + first + inside + last + "]";
  }

  std::string expression_;
  std::size_t at_ = 0;
  regex_t compiled_{};
};

}  // namespace detail
}  // namespace sparsify
