// SPDX-License-Identifier: Apache-2.0
#include "variables.hpp"

#include <algorithm>

#include "expression.hpp"
#include "sparsify/suggest.hpp"

namespace sparsify {
namespace {

constexpr std::size_t kMaxReferences = 32;

std::string join(const std::vector<std::string>& names, const char* separator) {
  std::string joined;
  for (const auto& name : names) joined += (joined.empty() ? "" : separator) + name;
  return joined;
}

}  // namespace

void Variables::add(const std::string& name, const yaml::Ref& value, yaml::Mark name_mark) {
  variables_[name] = {value, name_mark, false};
}

void Variables::override_with(const std::string& name, const yaml::Node& by) {
  auto& value = variables_.at(name).value;
  if (value.alias) {  // only this use changes, not the anchor's
    value.node = std::make_shared<yaml::Node>(*value.node);
    value.node->aliases = 0;
    value.alias = false;
  }
  value.node->kind = by.kind;
  value.node->text = by.text;
  value.node->quoted = false;
  value.node->items = by.items;
  for (auto& item : value.node->items) item.mark = value.mark;  // the argument has no place in a file
  value.node->argument = by.argument;
}

yaml::Ref Variables::follow(const yaml::Ref& value) {
  if (value.node->kind != yaml::Kind::kScalar || !value.node->tag.empty()) return value;
  const auto expression = expression_in(value.node->text);
  if (!expression) return value;
  const auto begin = expression->find_first_not_of(' '), end = expression->find_last_not_of(' ');
  if (begin == std::string::npos) return value;
  const auto name = expression->substr(begin, end - begin + 1);
  for (auto* scope = this; scope; scope = scope->outer_) {
    const auto found = scope->variables_.find(name);
    if (found == scope->variables_.end()) continue;
    if (found->second.value.node->kind == yaml::Kind::kScalar) return value;
    found->second.used = true;
    return found->second.value;
  }
  return value;
}

Scalar Variables::resolve(const yaml::Ref& value, const std::string& expected) {
  const auto& node = *value.node;
  if (node.kind != yaml::Kind::kScalar)
    throw ValueError(value.mark, "expected " + expected + ", got " + describe(value));
  if (!node.tag.empty())
    throw ValueError(value.mark, "the tag '" + node.tag + "' has no meaning here; expected " + expected);
  if (const auto expression = expression_in(node.text)) return {run(*expression, value), false};
  if (node.text.rfind("eval(", 0) == 0)
    throw ValueError(value.mark, "'eval(' is not closed: expected ')' at the end");
  return {node.text, node.quoted};
}

std::string Variables::run(const std::string& expression, const yaml::Ref& at) {
  try {
    return evaluate(expression,
                    [&](const std::string& name, std::size_t offset) { return lookup(name, offset); });
  } catch (const ExpressionError& error) {
    auto mark = at.mark;
    const bool in_source = !at.alias && at.node->argument.empty();
    if (in_source) mark.column += static_cast<std::int64_t>(error.offset()) + 5 + (at.node->quoted ? 1 : 0);
    throw ValueError(mark, describe(at) + ": " + error.what());
  }
}

std::string Variables::lookup(const std::string& name, std::size_t offset) {
  const auto found = variables_.find(name);
  if (found == variables_.end()) {
    if (outer_ && outer_->knows(name)) return outer_->lookup(name, offset);
    throw ExpressionError(offset, "there is no variable '" + name + "'" + suggestion(name, names()));
  }
  found->second.used = true;
  if (found->second.value.node->kind != yaml::Kind::kScalar)
    throw ExpressionError(offset, "variable '" + name + "' holds a list; expected a single value here");
  if (const auto known = results_.find(name); known != results_.end()) return known->second;
  const bool cycle = std::find(pending_.begin(), pending_.end(), name) != pending_.end();
  if (cycle || pending_.size() >= kMaxReferences) {
    const auto chain = join(pending_, " -> ") + " -> " + name;
    throw ExpressionError(offset, cycle ? "variables refer to each other in a circle: " + chain
                                        : "variables refer to each other more than 32 times in a row");
  }
  const struct Pending {
    std::vector<std::string>& names;
    ~Pending() { names.pop_back(); }
  } pending{pending_};
  pending_.push_back(name);
  return results_[name] = resolve(found->second.value, "a value").text;
}

bool Variables::knows(const std::string& name) const { return has(name) || (outer_ && outer_->knows(name)); }

std::vector<Variables::Unused> Variables::unused() const {
  std::vector<Unused> unused;
  for (const auto& [name, variable] : variables_)
    if (!variable.used && (variable.value.alias || variable.value.node->aliases == 0))
      unused.push_back({name, variable.name_mark});
  return unused;
}

std::vector<std::string> Variables::names() const {
  std::vector<std::string> names;
  for (const auto& [name, variable] : variables_) names.push_back(name);
  if (outer_)
    for (const auto& name : outer_->names())
      if (!has(name)) names.push_back(name);
  return names;
}

}  // namespace sparsify
