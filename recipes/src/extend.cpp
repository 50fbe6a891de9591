// SPDX-License-Identifier: Apache-2.0
#include "extend.hpp"

#include <algorithm>
#include <filesystem>

#include "container.hpp"
#include "parse_yaml.hpp"
#include "sparsify/load_recipe.hpp"
#include "stage.hpp"

namespace sparsify {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxExtends = 8;

const yaml::Ref* find(const yaml::Node& mapping, const std::string& key) {
  for (const auto& [name, value] : mapping.entries)
    if (name.node->text == key) return &value;
  return nullptr;
}

void check_root(const yaml::Ref& root, const Source& source) {
  if (!root.node || root.node->kind == yaml::Kind::kNull)
    fail(source, {0, 0, source.index()}, "the recipe is empty; expected 'modifiers:' with a list below");
  if (root.node->kind != yaml::Kind::kMapping || !root.node->tag.empty())
    fail(source, root.mark,
         "expected a mapping at the top ('modifiers:' with a list below), got " + describe(root));
}

/// Puts the value where the base's was used: an anchored scalar changes for all its aliases.
void replace_scalar(const yaml::Ref& base, const yaml::Ref& by) {
  base.node->text = by.node->text;
  base.node->quoted = by.node->quoted;
  base.node->mark = by.node->mark;
}

bool is_mapping(const yaml::Ref& value) { return value.node->kind == yaml::Kind::kMapping; }

/// A use of another stage becomes a stage of its own, of which nothing else changes.
void separate(yaml::Ref& stage) {
  if (!stage.alias) return;
  stage.node = std::make_shared<yaml::Node>(*stage.node);
  stage.alias = false;
  for (auto& [key, value] : stage.node->entries) value.alias = true;
}

void lay_over(yaml::Node& base, const yaml::Node& top);

void lay_entry_over(yaml::Node& base, const std::pair<yaml::Ref, yaml::Ref>& entry) {
  using yaml::Kind;
  const auto& [key, value] = entry;
  const auto& name = key.node->text;
  const auto known = std::find_if(base.entries.begin(), base.entries.end(),
                                  [&](const auto& other) { return other.first.node->text == name; });
  if (known == base.entries.end()) {
    base.entries.push_back(entry);
  } else if (value.node->kind == Kind::kNull) {
    base.entries.erase(known);
  } else if (is_mapping(known->second) && is_mapping(value) &&
             (name == "run" || name == "metadata" || is_stage(known->second))) {
    separate(known->second);
    lay_over(*known->second.node, *value.node);
  } else if (known->second.node->kind == Kind::kScalar && value.node->kind == Kind::kScalar &&
             !known->second.alias) {
    replace_scalar(known->second, value);
    known->first = key;
    known->second.mark = value.mark;
  } else {
    *known = entry;
  }
}

void lay_over(yaml::Node& base, const yaml::Node& top) {
  for (const auto& entry : top.entries) lay_entry_over(base, entry);
}

void lay_document_over(yaml::Node& base, const yaml::Node& top) {
  for (const auto& entry : top.entries)
    if (entry.first.node->text != "extends") lay_entry_over(base, entry);
}

fs::path find_base(const yaml::Ref& name, const std::string& from, const Source& source) {
  if (name.node->kind != yaml::Kind::kScalar || name.node->text.empty())
    fail(source, name.mark, "extends: expected the name of a recipe, got " + describe(name));
  const auto beside = fs::path(from).parent_path() / name.node->text;
  std::error_code ignored;
  if (fs::is_regular_file(beside, ignored)) return beside;
  try {
    return find_recipe(name.node->text);
  } catch (const RecipeError& error) {
    fail(source, name.mark, std::string("extends: ") + error.what());
  }
}

Extended parse_chain(const std::string& text, const std::string& file_name, Sources& sources,
                     std::vector<std::string> files) {
  const auto yaml = yaml_inside(text, file_name);
  const auto& source = sources.add(file_name, yaml);
  auto documents = yaml::parse(yaml, source);
  const auto empty = [](const yaml::Document& document) {
    return !document.root.node || document.root.node->kind == yaml::Kind::kNull;
  };
  // A recipe may begin with "---", and a run's text holds several after each other.
  if (!std::all_of(documents.begin(), documents.end(), empty)) std::erase_if(documents, empty);
  for (const auto& document : documents) check_root(document.root, source);

  const auto& own = documents.front().root;
  Extended result{own, yaml};
  if (const auto* name = find(*own.node, "extends")) {
    const auto path = find_base(*name, file_name, source);
    files.push_back(fs::weakly_canonical(file_name).string());
    if (std::find(files.begin(), files.end(), fs::weakly_canonical(path).string()) != files.end())
      fail(source, name->mark, "extends: '" + name->node->text + "' extends this recipe in turn");
    if (files.size() > kMaxExtends) fail(source, name->mark, "extends: more than 8 recipes deep");
    result = parse_chain(read_recipe_file(path), path.string(), sources, files);
    lay_document_over(*result.root.node, *own.node);
    result.root.mark = own.mark;
    result.text += (result.text.empty() || result.text.back() == '\n' ? "---\n" : "\n---\n") + yaml;
  }
  for (std::size_t i = 1; i < documents.size(); ++i) {
    if (!find(*documents[i].root.node, "extends"))
      fail(source, documents[i].start,
           "a second YAML document begins here; a recipe is one document, unless this one says 'extends:'");
    lay_document_over(*result.root.node, *documents[i].root.node);
  }
  return result;
}

}  // namespace

Extended parse_extended(const std::string& text, const std::string& file_name, Sources& sources) {
  return parse_chain(text, file_name, sources, {});
}

}  // namespace sparsify
