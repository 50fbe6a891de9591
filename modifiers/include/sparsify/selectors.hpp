// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fnmatch.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sparsify/error.hpp"
#include "sparsify/limits.hpp"
#include "sparsify/parameters.hpp"
#include "sparsify/pattern.hpp"
#include "sparsify/suggest.hpp"

namespace sparsify {

/// What selectors look like: for messages and for the reference page.
inline constexpr const char* kSelectorForms =
    "names, globs, re:<expression>, module types (Conv2d), module names (layer1), conditions (channels<16, "
    "groups>1, elements<1000), __ALL__, __ALL_PRUNABLE__, __FIRST__, __LAST__";

namespace detail {

/// "channels<16": a condition on the shape of prunable weights.
struct Condition {
  std::string quantity, comparison;
  std::int64_t bound = 0;

  static std::optional<Condition> parse(const std::string& text) {
    std::string compact = text;
    compact.erase(std::remove(compact.begin(), compact.end(), ' '), compact.end());
    const auto sign = compact.find_first_of("<>=");
    if (sign == std::string::npos) return std::nullopt;
    const auto digits = compact.find_first_not_of("<>=", sign);
    Condition condition{compact.substr(0, sign), compact.substr(sign, digits - sign), 0};
    if (digits == std::string::npos || compact.find_first_not_of("0123456789", digits) != std::string::npos ||
        compact.size() - digits > 15)
      throw InvalidField("params",
                         "'" + text + "': expected a whole number after '" + condition.comparison + "'");
    condition.bound = std::strtoll(compact.c_str() + digits, nullptr, 10);
    const auto& c = condition.comparison;
    const auto& q = condition.quantity;
    if (c != "<" && c != "<=" && c != ">" && c != ">=" && c != "==")
      throw InvalidField("params", "'" + text + "': expected <, <=, >, >= or ==");
    if (q != "channels" && q != "groups" && q != "elements")
      throw InvalidField("params", "'" + text + "': expected a condition on channels, groups or elements");
    return condition;
  }

  bool holds(const Parameter& parameter) const {
    std::int64_t value = parameter.tensor.numel();
    if (quantity == "groups") value = parameter.groups;
    if (quantity == "channels") value = parameter.tensor.size(1);
    if (comparison == "<") return value < bound;
    if (comparison == "<=") return value <= bound;
    if (comparison == ">") return value > bound;
    if (comparison == ">=") return value >= bound;
    return value == bound;
  }
};

/// A name as recipes write it: DataParallel wrappers put "module." in front.
inline std::string unwrapped(const std::string& name) {
  const std::string prefix = "module.";
  return name.rfind(prefix, 0) == 0 ? name.substr(prefix.size()) : name;
}

/// The same of a regular expression, in which the dot may be escaped.
inline std::string unwrapped_pattern(const std::string& expression) {
  for (const std::string prefix : {"module\\.", "module[.]", "module."}) {
    if (expression.rfind(prefix, 0) != 0) continue;
    const auto rest = expression.substr(prefix.size());
    return rest.find_first_of("*+?{") == 0 ? expression : rest;  // "module.*" means more than the prefix
  }
  return expression;
}

}  // namespace detail

/// One selector, read once and tried on every parameter of a model, by their other names when no name
/// matches. Forms: see kSelectorForms. `re:` matches from the start of the name as Python's `re.match`;
/// module types, module names and conditions choose prunable weights; `__FIRST__` and `__LAST__` are the
/// first and last of them in the model's order.
class Selector {
 public:
  explicit Selector(const std::string& text) : text_(text), name_(detail::unwrapped(text)) {
    if (text.rfind("re:", 0) == 0)
      pattern_ = std::make_unique<detail::Pattern>(detail::unwrapped_pattern(text.substr(3)));
    else
      condition_ = detail::Condition::parse(text);
  }

  const std::string& text() const { return text_; }
  /// Whether it may choose nothing without that being a mistake.
  bool may_be_empty() const { return condition_.has_value(); }

  /// Which of `parameters` it chooses, one flag each.
  std::vector<bool> choose(const Parameters& parameters) const {
    std::vector<bool> chosen(parameters.size(), false);
    if (text_ == "__FIRST__" || text_ == "__LAST__") {
      std::optional<std::size_t> at;
      for (std::size_t i = 0; i < parameters.size(); ++i)
        if (parameters[i].prunable() && !(at && text_ == "__FIRST__")) at = i;
      if (at) chosen[*at] = true;
      return chosen;
    }
    for (std::size_t i = 0; i < parameters.size(); ++i) chosen[i] = matches(parameters[i]);
    if (std::find(chosen.begin(), chosen.end(), true) == chosen.end())
      for (std::size_t i = 0; i < parameters.size(); ++i) chosen[i] = matches_other_name(parameters[i]);
    return chosen;
  }

  /// Whether it matches parameters by their other names only.
  bool needs_other_names(const Parameters& parameters) const {
    return std::none_of(parameters.begin(), parameters.end(), [&](const auto& p) { return matches(p); }) &&
           std::any_of(parameters.begin(), parameters.end(),
                       [&](const auto& p) { return matches_other_name(p); });
  }

  /// Whether it matches one parameter's name; whether that is the first or last cannot be known.
  bool matches(const Parameter& parameter) const {
    if (text_ == "__ALL__") return true;
    if (text_ == "__ALL_PRUNABLE__") return parameter.prunable();
    if (condition_) return parameter.prunable() && condition_->holds(parameter);
    const auto name = detail::unwrapped(parameter.name);
    if (pattern_) return pattern_->matches(name) || pattern_->matches(parameter.name);
    if (fnmatch(name_.c_str(), name.c_str(), 0) == 0) return true;
    return parameter.prunable() && (parameter.module_type == text_ || name.rfind(name_ + ".", 0) == 0);
  }

 private:
  bool matches_other_name(Parameter parameter) const {
    if (parameter.other_name.empty()) return false;
    parameter.name = parameter.other_name;
    return matches(parameter);
  }

  std::string text_, name_;
  std::unique_ptr<detail::Pattern> pattern_;
  std::optional<detail::Condition> condition_;
};

/// The message for a selector that chooses nothing.
inline std::string matches_nothing(const std::string& text, const Parameters& parameters) {
  auto names = names_of(parameters);
  for (auto& module : modules_of(parameters)) names.push_back(std::move(module));
  return "'" + text + "' matches no parameter of the model" + suggestion(text, names);
}

/// The parameters that any of `targets` selects and none of `exclude`, in the model's order, each once.
/// Throws InvalidField("params" or "exclude") for a selector that matches nothing, and when nothing is left.
inline Parameters select(const Parameters& parameters, const std::vector<std::string>& targets,
                         const std::vector<std::string>& exclude = {}) {
  if (targets.empty()) throw InvalidField("params", std::string("is empty; expected ") + kSelectorForms);
  const auto any_of = [&](const char* field, const std::vector<std::string>& texts) {
    std::vector<bool> any(parameters.size(), false);
    for (const auto& text : texts) {
      const Selector selector(text);
      const auto chosen = selector.choose(parameters);
      for (std::size_t i = 0; i < chosen.size(); ++i) any[i] = any[i] || chosen[i];
      if (selector.may_be_empty() || std::find(chosen.begin(), chosen.end(), true) != chosen.end()) continue;
      throw InvalidField(field, matches_nothing(text, parameters));
    }
    return any;
  };
  const auto chosen = any_of("params", targets), left_out = any_of("exclude", exclude);
  Parameters selected;
  for (std::size_t i = 0; i < parameters.size(); ++i)
    if (chosen[i] && !left_out[i]) selected.push_back(parameters[i]);
  if (selected.empty()) throw InvalidField("params", "select no parameter that is not excluded");
  return selected;
}

/// Visits the two options that say which parameters a modifier acts on; `limits`: whether they must be said.
template <class Visitor>
void visit_selection(Visitor& visit, std::vector<std::string>& params, std::vector<std::string>& exclude,
                     const Limits& limits = {}) {
  visit("params", params, kSelectorForms, limits);
  visit("exclude", exclude, "of those, which not: selectors as in params");
}

}  // namespace sparsify
