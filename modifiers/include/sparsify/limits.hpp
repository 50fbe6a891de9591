// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdio>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "sparsify/error.hpp"

namespace sparsify {

/// What a field takes beyond its kind: some texts, or a range of numbers. Recipes are checked against it, and
/// messages, the JSON schema and the reference page are made of it.
struct Limits {
  std::vector<std::string> texts{};  ///< empty: any
  double least = -std::numeric_limits<double>::infinity();
  double most = std::numeric_limits<double>::infinity();
  bool without_least = false, without_most = false;  ///< these two themselves not
  bool minus_one = false;                            ///< -1 as well
  bool is_required = false;                          ///< a recipe must say it: there is no good default
  const char* noun = "a number";

  Limits up_to(double number) const {
    auto limits = *this;
    limits.most = number;
    return limits;
  }
  Limits below(double number) const {
    auto limits = up_to(number);
    limits.without_most = true;
    return limits;
  }
  Limits or_minus_one() const {
    auto limits = *this;
    limits.minus_one = true;
    return limits;
  }
  Limits required() const {
    auto limits = *this;
    limits.is_required = true;
    return limits;
  }

  bool are_none() const { return texts.empty() && !has_least() && !has_most(); }
  bool has_least() const { return least != -std::numeric_limits<double>::infinity(); }
  bool has_most() const { return most != std::numeric_limits<double>::infinity(); }

  bool take(double number) const {
    if (minus_one && number == -1) return true;
    return (without_least ? number > least : number >= least) &&
           (without_most ? number < most : number <= most);
  }
  bool take(const std::string& text) const {
    return texts.empty() || std::find(texts.begin(), texts.end(), text) != texts.end();
  }

  /// "linear, cubic or inverse_cubic"; "a fraction from 0 to 1"; "an epoch >= 0, or -1".
  std::string text() const {
    if (!texts.empty()) return alternatives();
    std::string words = noun;
    if (has_least() && has_most() && !without_least && !without_most) {
      words += " from " + format(least) + " to " + format(most);
    } else {
      if (has_least()) words += (without_least ? " > " : " >= ") + format(least);
      if (has_least() && has_most()) words += " and";
      if (has_most()) words += (without_most ? " < " : " <= ") + format(most);
    }
    return words + (minus_one ? ", or -1" : "");
  }

  /// Of a field that a recipe must say and does not: "is required, a fraction from 0 to 1".
  std::string missing() const { return "is required" + (are_none() ? "" : ", " + text()); }

  /// Both throw InvalidField.
  void check(const char* field, double number) const {
    if (take(number)) return;
    auto message = "expected " + text() + ", got " + format(number);
    if (most == 1 && number > 1 && number <= 100)
      message += "; percent are written as a fraction: " + format(number / 100);
    throw InvalidField(field, message);
  }
  void check(const char* field, const std::string& written) const {
    if (!take(written)) throw InvalidField(field, "expected " + text() + ", got '" + written + "'");
  }

  static std::string format(double number) {
    char buffer[32];
    std::snprintf(buffer, sizeof buffer, "%.10g", number);
    return buffer;
  }

 private:
  std::string alternatives() const {
    std::string list;
    for (const auto& each : texts)
      list += (list.empty() ? "" : &each == &texts.back() ? " or " : ", ") + each;
    return list;
  }
};

inline Limits one_of(std::vector<std::string> texts) {
  Limits limits;
  limits.texts = std::move(texts);
  return limits;
}
/// The texts that stand for values, such as those of an enum.
template <class T>
using Choices = std::vector<std::pair<const char*, T>>;

template <class T>
Limits one_of(const Choices<T>& choices) {
  Limits limits;
  for (const auto& [text, value] : choices) limits.texts.emplace_back(text);
  return limits;
}
/// What `text` stands for; throws InvalidField.
template <class T>
T choose(const char* field, const std::string& text, const Choices<T>& choices) {
  one_of(choices).check(field, text);
  return std::find_if(choices.begin(), choices.end(), [&](const auto& each) { return each.first == text; })
      ->second;
}

inline Limits at_least(double number) {
  Limits limits;
  limits.least = number;
  return limits;
}
inline Limits above(double number) {
  auto limits = at_least(number);
  limits.without_least = true;
  return limits;
}
/// Anything of the field's kind, but not nothing.
inline Limits required() { return Limits{}.required(); }
/// A share of something.
inline Limits fraction() {
  auto limits = at_least(0).up_to(1);
  limits.noun = "a fraction";
  return limits;
}

}  // namespace sparsify
