// SPDX-License-Identifier: Apache-2.0
#include "workflow/recipe_reference.hpp"

#include <map>
#include <nlohmann/json.hpp>
#include <vector>

#include "sparsify/load_recipe.hpp"
#include "sparsify/registry.hpp"
#include "sparsify/selectors.hpp"

namespace sparsify {
namespace {

using nlohmann::ordered_json;

/// One field of a modifier at its default.
struct Field {
  std::string name, meaning, kind;
  ordered_json initial;
};

ordered_json to_json(const Value& value) {
  switch (value.kind) {
    case Value::Kind::kNone:
      return nullptr;
    case Value::Kind::kBoolean:
      return value.number != 0;
    case Value::Kind::kNumber:
      return value.number;
    case Value::Kind::kText:
      return value.text;
    default:
      return ordered_json::array();
  }
}

struct FieldList : FieldVisitor {
  std::vector<Field> all;
  void operator()(const char* name, bool& value, const char* meaning) override {
    all.push_back({name, meaning, "boolean", value});
  }
  void operator()(const char* name, std::int64_t& value, const char* meaning) override {
    all.push_back({name, meaning, "integer", value});
  }
  void operator()(const char* name, double& value, const char* meaning) override {
    all.push_back({name, meaning, "number", value});
  }
  void operator()(const char* name, std::string& value, const char* meaning) override {
    all.push_back({name, meaning, "text", value});
  }
  void operator()(const char* name, std::vector<std::string>& value, const char* meaning) override {
    all.push_back({name, meaning, "list of texts", value});
  }
  void operator()(const char* name, std::vector<std::int64_t>& value, const char* meaning) override {
    all.push_back({name, meaning, "list of integers", value});
  }
  void operator()(const char* name, Value& value, const char* meaning) override {
    all.push_back({name, meaning, "value", to_json(value)});
  }
};

std::vector<Field> fields_of(const Registry::Type& type) {
  FieldList list;
  type.visit_defaults(list);
  return list.all;
}

const ordered_json& expression() {
  static const ordered_json schema = {{"type", "string"}, {"pattern", "^eval\\(.*\\)$"}};
  return schema;
}

ordered_json or_expression(const char* type) {
  return {{"anyOf", ordered_json::array({{{"type", type}}, expression()})}};
}

ordered_json list_of(const char* type) {
  const ordered_json list = {{"type", "array"}, {"items", {{"type", type}}}};
  return {{"anyOf", ordered_json::array({list, {{"type", type}}, expression()})}};
}

ordered_json schema_of(const Field& field) {
  ordered_json schema = ordered_json::object();  // a "value" may be anything
  if (field.kind == "boolean" || field.kind == "integer" || field.kind == "number")
    schema = or_expression(field.kind.c_str());
  if (field.kind == "text") schema = {{"type", ordered_json::array({"string", "number"})}};
  if (field.kind == "list of texts") schema = list_of("string");
  if (field.kind == "list of integers") schema = list_of("integer");
  schema["description"] = field.meaning;
  if (!field.initial.is_null()) schema["default"] = field.initial;
  return schema;
}

ordered_json schema_of(RunKeyKind kind) {
  switch (kind) {
    case RunKeyKind::kInteger:
      return or_expression("integer");
    case RunKeyKind::kNumber:
      return or_expression("number");
    case RunKeyKind::kBoolean:
      return or_expression("boolean");
    case RunKeyKind::kText:
      break;
  }
  return {{"type", ordered_json::array({"string", "number"})}};
}

std::string code(const ordered_json& value) {
  if (value.is_null()) return "";
  return "`" + (value.is_string() ? value.get<std::string>() : value.dump()) + "`";
}

std::string cell(std::string text) {
  for (std::size_t at = 0; (at = text.find('|', at)) != std::string::npos; at += 2) text.insert(at, "\\");
  return text;
}

const char* fate_of(SparseMLRule::Fate fate) {
  if (fate == SparseMLRule::Fate::kRenamed) return "mapped to";
  if (fate == SparseMLRule::Fate::kTranslated) return "translated";
  return fate == SparseMLRule::Fate::kNotNeeded ? "not needed" : "not supported";
}

std::string sparseml_rows() {
  std::string rows;
  for (const auto& [name, type] : registry().types()) {
    const bool alias = name != type.name;
    rows += "| `" + name + "` | | " +
            (alias ? "mapped to `" + type.name + "`" : std::string("supported, fields as above")) + " |\n";
  }
  for (const auto& rule : sparseml_rules()) {
    const bool renamed = rule.fate == SparseMLRule::Fate::kRenamed;
    std::string what = fate_of(rule.fate);
    what += renamed ? " `" + rule.note + "`" : ": " + rule.note;
    if (!rule.only_if.empty()) what = "`" + rule.only_if + "` only: " + rule.note;
    rows += "| " + (rule.modifier == "*" ? "any" : "`" + rule.modifier + "`") + " | " +
            (rule.field.empty() ? "" : "`" + rule.field + "`") + " | " + cell(what) + " |\n";
  }
  return rows;
}

}  // namespace

nlohmann::json recipe_schema() {
  register_builtin_modifiers();
  ordered_json entries = ordered_json::array(), every_field = ordered_json::object();
  for (const auto& [name, type] : registry().types()) {
    ordered_json fields = ordered_json::object();
    for (const auto& field : fields_of(type)) {
      fields[field.name] = schema_of(field);
      every_field[field.name] = ordered_json::object();
    }
    const ordered_json body = {{"type", ordered_json::array({"object", "null"})},
                               {"properties", fields},
                               {"additionalProperties", false}};
    entries.push_back({{"type", "object"},
                       {"properties", {{name, body}}},
                       {"required", ordered_json::array({name})},
                       {"additionalProperties", false}});
  }
  // Editors drop the tag of `- !XModifier`: any modifier's fields may follow.
  entries.push_back({{"type", ordered_json::array({"object", "null"})},
                     {"properties", every_field},
                     {"additionalProperties", false}});
  ordered_json run = ordered_json::object();
  for (const auto& key : run_keys()) run[key.name] = schema_of(key.kind);

  const ordered_json scalar = {{"type", ordered_json::array({"string", "number", "boolean"})}};
  const ordered_json variable = {
      {"anyOf", ordered_json::array({scalar, {{"type", "array"}, {"items", scalar}}})}};
  const ordered_json group = {{"type", "array"}, {"items", {{"anyOf", entries}}}};
  const ordered_json stage = {
      {"type", "object"},
      {"properties", {{"after", {{"type", "string"}}}, {"start_epoch", or_expression("number")}}},
      {"patternProperties", {{"modifiers$", {{"$ref", "#/definitions/group"}}}}},
      {"additionalProperties", variable}};
  return ordered_json{
      {"$schema", "http://json-schema.org/draft-07/schema#"},
      {"title", "sparsify recipe"},
      {"type", "object"},
      {"definitions", {{"group", group}}},
      {"properties",
       {{"version", {{"const", 1}, {"description", "1: this dialect, in which nothing is ignored"}}},
        {"description", {{"type", "string"}}},
        {"metadata", {{"type", "object"}}},
        {"extends", {{"type", "string"}, {"description", "a recipe whose keys these replace"}}},
        {"run",
         {{"type", "object"},
          {"properties", run},
          {"additionalProperties", false},
          {"description", "defaults of the flags of sparsify train"}}}}},
      {"patternProperties", {{"modifiers$", {{"$ref", "#/definitions/group"}}}, {"stage$", stage}}},
      {"additionalProperties", variable}};
}

std::string recipe_reference() {
  register_builtin_modifiers();
  std::string page =
      "# Recipe reference\n\n"
      "Written by `sparsify recipe reference` from the modifiers' own fields. `sparsify recipe schema` gives "
      "the same to\neditors. How recipes work: README.md beside this page.\n\n"
      "Selectors (`params`, `exclude`, `ignore`): " +
      std::string(kSelectorForms) + ".\n";
  for (const auto& [name, type] : registry().types()) {
    if (name != type.name) continue;
    page += "\n## " + name + "\n\n";
    for (const auto& [alias, other] : registry().types())
      if (other.name == name && alias != name) page += "Also `" + alias + "`.\n\n";
    page += "| field | kind | default | meaning |\n|---|---|---|---|\n";
    for (const auto& field : fields_of(type))
      page += "| `" + field.name + "` | " + field.kind + " | " + cell(code(field.initial)) + " | " +
              cell(field.meaning) + " |\n";
  }
  page += "\n## run\n\nDefaults of the flags of `sparsify train`:";
  for (const auto& key : run_keys()) page += (&key == &run_keys().front() ? " `" : ", `") + key.name + "`";
  page += ".\n\n## From SparseML\n\n| modifier | parameter | here |\n|---|---|---|\n" + sparseml_rows();
  return page;
}

}  // namespace sparsify
