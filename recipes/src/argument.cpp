// SPDX-License-Identifier: Apache-2.0
#include "argument.hpp"

#include "parse_yaml.hpp"

namespace sparsify {
namespace {

/// The items when the text is a list and nothing else: names such as "[a-z]+[0-9]" are none.
bool read_list(const std::string& text, std::vector<yaml::Ref>& items) {
  if (text.empty() || text.front() != '[' || text.back() != ']') return false;
  try {
    const auto documents = yaml::parse(text, Source(0, "", text));
    const auto& root = documents.front().root;
    if (documents.size() != 1 || root.node->kind != yaml::Kind::kSequence) return false;
    items = root.node->items;
    return true;
  } catch (const RecipeError&) {
    return false;
  }
}

}  // namespace

yaml::Node argument(const std::string& name, const std::string& text) {
  yaml::Node node;
  node.argument = "--recipe-arg " + name + "=" + text;
  node.complete = true;
  const bool list = read_list(text, node.items);
  node.kind = list ? yaml::Kind::kSequence : yaml::Kind::kScalar;
  if (list)
    for (const auto& item : node.items) item.node->argument = node.argument;
  else
    node.text = text;
  return node;
}

}  // namespace sparsify
