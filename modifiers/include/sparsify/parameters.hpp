// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>
#include <fnmatch.h>
#include <regex.h>

#include <string>
#include <vector>

#include "sparsify/error.hpp"
#include "sparsify/suggest.hpp"

namespace sparsify {

/// A parameter of the bound model. `groups`: of the convolution it belongs to, 1 elsewhere.
struct Parameter {
  std::string name;
  at::Tensor tensor;
  std::int64_t groups = 1;

  /// Weights of linear, embedding and convolution layers: called `weight`, with two dimensions or more.
  bool prunable() const {
    const std::string suffix = "weight";
    return tensor.dim() >= 2 && name.size() >= suffix.size() &&
           name.compare(name.size() - suffix.size(), suffix.size(), suffix) == 0;
  }
};

using Parameters = std::vector<Parameter>;

namespace detail {

/// POSIX extended regular expressions anchored at the start, as Python's `re.match` is; `\d` is understood.
class Pattern {
 public:
  explicit Pattern(const std::string& expression) {
    std::string posix = "^(";
    for (std::size_t i = 0; i < expression.size(); ++i) {
      if (expression.compare(i, 2, "\\d") == 0)
        posix += "[0-9]", ++i;
      else if (expression.compare(i, 3, "(?:") == 0)
        posix += "(", i += 2;
      else
        posix += expression[i];
    }
    const int failure = regcomp(&compiled_, (posix + ")").c_str(), REG_EXTENDED | REG_NOSUB);
    if (failure == 0) return;
    char reason[128];
    regerror(failure, &compiled_, reason, sizeof reason);
    throw InvalidField("params", "'re:" + expression + "' is not a regular expression: " + reason);
  }
  ~Pattern() { regfree(&compiled_); }
  Pattern(const Pattern&) = delete;
  Pattern& operator=(const Pattern&) = delete;

  bool matches(const std::string& text) const {
    return regexec(&compiled_, text.c_str(), 0, nullptr, 0) == 0;
  }

 private:
  regex_t compiled_{};
};

}  // namespace detail

/// Whether one selector chooses a parameter: `__ALL__`, `__ALL_PRUNABLE__`, `re:<expression>`, a glob, or an
/// exact name.
inline bool selects(const std::string& target, const Parameter& parameter) {
  if (target == "__ALL__") return true;
  if (target == "__ALL_PRUNABLE__") return parameter.prunable();
  if (target.rfind("re:", 0) == 0) return detail::Pattern(target.substr(3)).matches(parameter.name);
  return fnmatch(target.c_str(), parameter.name.c_str(), 0) == 0;
}

/// The parameters that any of `targets` selects, in the model's order, each once.
/// Throws InvalidField("params") for an empty list and for a selector that matches nothing.
inline Parameters select(const Parameters& parameters, const std::vector<std::string>& targets) {
  if (targets.empty())
    throw InvalidField("params", "is empty; expected names, globs, re:..., __ALL__ or __ALL_PRUNABLE__");
  std::vector<bool> chosen(parameters.size(), false);
  for (const auto& target : targets) {
    bool found = false;
    for (std::size_t i = 0; i < parameters.size(); ++i)
      if (selects(target, parameters[i])) chosen[i] = found = true;
    if (found) continue;
    std::vector<std::string> names;
    for (const auto& parameter : parameters) names.push_back(parameter.name);
    throw InvalidField("params",
                       "'" + target + "' matches no parameter of the model" + suggestion(target, names));
  }
  Parameters selected;
  for (std::size_t i = 0; i < parameters.size(); ++i)
    if (chosen[i]) selected.push_back(parameters[i]);
  return selected;
}

}  // namespace sparsify
