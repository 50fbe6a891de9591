// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "diagnostics.hpp"
#include "parse_yaml.hpp"
#include "read_modifiers.hpp"
#include "read_run.hpp"
#include "scalar_types.hpp"
#include "sparsify/load_recipe.hpp"
#include "variables.hpp"

namespace sparsify {
namespace {

constexpr std::size_t kMaxBytes = std::size_t{1} << 20;

/// What a top-level key holds.
enum class Section { kModifiers, kRun, kVersion, kDescription, kMetadata, kVariable };

bool names_modifiers(const std::string& key) {
  const std::string suffix = "modifiers";
  return key.size() >= suffix.size() && key.compare(key.size() - suffix.size(), suffix.size(), suffix) == 0;
}

Section section_of(const std::string& key) {
  if (names_modifiers(key)) return Section::kModifiers;
  if (key == "run") return Section::kRun;
  if (key == "version") return Section::kVersion;
  if (key == "description") return Section::kDescription;
  if (key == "metadata") return Section::kMetadata;
  return Section::kVariable;
}

bool holds_modifiers(const yaml::Node& node) {
  if (node.kind == yaml::Kind::kMapping)
    return std::any_of(node.entries.begin(), node.entries.end(),
                       [](const auto& entry) { return names_modifiers(entry.first.node->text); });
  return node.kind == yaml::Kind::kSequence &&
         std::any_of(node.items.begin(), node.items.end(), [](const yaml::Ref& item) {
           return item.node->kind == yaml::Kind::kMapping || !item.node->tag.empty();
         });
}

std::string no_variable(const std::string& key, const yaml::Ref& value) {
  if (value.node->kind == yaml::Kind::kMapping && holds_modifiers(*value.node))
    return "'" + key + "' is a stage; stages are not supported, expected its modifiers at the top level";
  if (holds_modifiers(*value.node))
    return "'" + key + "' holds modifiers but its name does not end in 'modifiers'; expected e.g. '" + key +
           "_modifiers'";
  return "variable '" + key + "': expected a single value, got " + describe(value);
}

/// Reads the sections of one document; the order of keys in the file does not matter.
class RecipeReader {
 public:
  RecipeReader(const yaml::Ref& root, const Source& source, RecipeFile& file)
      : root_(*root.node), source_(source), diagnostics_(source), file_(file) {}

  void read(const RecipeArguments& arguments) {
    collect_variables();
    variables_.override_with(arguments, source_.file());
    bool any_modifiers = false;
    for (const auto& [key, value] : root_.entries) {
      read_section(key.node->text, value);
      any_modifiers |= section_of(key.node->text) == Section::kModifiers;
    }
    if (!any_modifiers && diagnostics_.count() == 0)
      diagnostics_.add(root_.mark, "the recipe has no modifiers; expected 'modifiers:' with a list below");
    if (diagnostics_.count() == 0) variables_.report_unused(diagnostics_);  // what failed may have used them
    diagnostics_.raise();
  }

 private:
  void collect_variables() {
    for (const auto& [key, value] : root_.entries) {
      const auto& name = key.node->text;
      if (section_of(name) != Section::kVariable) continue;
      if (value.node->kind == yaml::Kind::kScalar)
        variables_.add(name, value, key.mark);
      else
        diagnostics_.add(key.mark, no_variable(name, value));
    }
  }

  void read_section(const std::string& key, const yaml::Ref& value) {
    switch (section_of(key)) {
      case Section::kModifiers:
        read_modifiers(key, value, file_.recipe, variables_, diagnostics_);
        break;
      case Section::kRun:
        file_.run = read_run(value, variables_, diagnostics_);
        break;
      case Section::kVersion:
        file_.version = text(key, value);
        break;
      case Section::kDescription:
        file_.description = text(key, value);
        break;
      case Section::kMetadata:
        read_metadata(value);
        break;
      case Section::kVariable:
        break;
    }
  }

  std::string text(const std::string& key, const yaml::Ref& value) {
    try {
      return read_text(value, variables_);
    } catch (const ValueError& error) {
      diagnostics_.add(error.mark(), key + ": " + error.what());
      return "";
    }
  }

  void read_metadata(const yaml::Ref& value) {
    if (value.node->kind != yaml::Kind::kMapping) {
      diagnostics_.add(value.mark, "metadata: expected a mapping ('author: name'), got " + describe(value));
      return;
    }
    for (const auto& [key, item] : value.node->entries) {
      const auto& name = key.node->text;
      file_.metadata[name] = text("metadata: " + name, item);
    }
  }

  const yaml::Node& root_;
  const Source& source_;
  Variables variables_;
  Diagnostics diagnostics_;
  RecipeFile& file_;
};

}  // namespace

RecipeFile parse_recipe(const std::string& text, const std::string& file_name,
                        const RecipeArguments& arguments) {
  if (text.size() > kMaxBytes) throw RecipeError(file_name + ": larger than 1 MiB; this is no recipe");
  if (text.find('\0') != std::string::npos)
    throw RecipeError(file_name + ": not a text file: it holds zero bytes");
  register_builtin_modifiers();
  const bool byte_order_mark = text.rfind("\xEF\xBB\xBF", 0) == 0;
  const auto content = byte_order_mark ? text.substr(3) : text;
  const Source source(file_name, content);
  const auto root = yaml::parse(content, source);
  if (!root.node || root.node->kind == yaml::Kind::kNull)
    fail(source, {}, "the recipe is empty; expected 'modifiers:' with a list below");
  if (root.node->kind != yaml::Kind::kMapping || !root.node->tag.empty())
    fail(source, root.mark,
         "expected a mapping at the top ('modifiers:' with a list below), got " + describe(root));
  RecipeFile file;
  file.path = file_name;
  file.text = text;
  RecipeReader(root, source, file).read(arguments);
  return file;
}

}  // namespace sparsify
