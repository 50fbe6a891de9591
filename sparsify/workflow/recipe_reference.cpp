// SPDX-License-Identifier: Apache-2.0
#include "workflow/recipe_reference.hpp"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <vector>

#include "sparsify/load_recipe.hpp"
#include "sparsify/registry.hpp"
#include "sparsify/selectors.hpp"
#include "workflow/settings.hpp"

namespace sparsify {
namespace {

using nlohmann::ordered_json;

/// One field of a modifier at its default.
struct Field {
  std::string name, meaning, kind;
  ordered_json initial;
  Limits limits;
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
    all.push_back({name, meaning, "boolean", value, {}});
  }
  void operator()(const char* name, std::int64_t& value, const char* meaning) override {
    all.push_back({name, meaning, "integer", value, limits()});
  }
  void operator()(const char* name, double& value, const char* meaning) override {
    all.push_back({name, meaning, "number", value, limits()});
  }
  void operator()(const char* name, std::string& value, const char* meaning) override {
    all.push_back({name, meaning, "text", value, limits()});
  }
  void operator()(const char* name, std::vector<std::string>& value, const char* meaning) override {
    all.push_back({name, meaning, "list of texts", value, limits()});
  }
  void operator()(const char* name, std::vector<std::int64_t>& value, const char* meaning) override {
    all.push_back({name, meaning, "list of integers", value, limits()});
  }
  void operator()(const char* name, Value& value, const char* meaning) override {
    all.push_back({name, meaning, "value", to_json(value), limits()});
  }
};

std::vector<Field> fields_of(const Registry::Type& type) {
  FieldList list;
  type.visit_defaults(list);
  return list.all;
}

/// The keys of `run:`, which are settings of `train`.
std::vector<Field> run_fields() {
  FieldList settings;
  FieldVisitor& visit = settings;
  Settings().fields(visit);
  std::vector<Field> fields;
  for (const auto& key : run_keys())
    fields.push_back(*std::find_if(settings.all.begin(), settings.all.end(),
                                   [&](const Field& field) { return field.name == key.name; }));
  return fields;
}

const ordered_json& expression() {
  static const ordered_json schema = {{"type", "string"}, {"pattern", "^eval\\(.*\\)$"}};
  return schema;
}

ordered_json or_expression(const char* type) {
  return {{"anyOf", ordered_json::array({{{"type", type}}, expression()})}};
}

ordered_json any_of(std::initializer_list<ordered_json> schemas) {
  return {{"anyOf", ordered_json::array_t(schemas)}};
}

ordered_json object_of(const ordered_json& properties) {
  return {{"type", "object"}, {"properties", properties}, {"additionalProperties", false}};
}

const ordered_json& nothing() {
  static const ordered_json schema = {{"type", "null"}};
  return schema;
}

const ordered_json& scalar() {
  static const ordered_json schema = {{"type", ordered_json::array({"string", "number", "boolean"})}};
  return schema;
}

ordered_json list_of(const ordered_json& items) { return {{"type", "array"}, {"items", items}}; }

/// Words that concern numbers only.
ordered_json range_of(const Limits& limits) {
  auto schema = ordered_json::object();
  if (limits.has_least()) schema[limits.without_least ? "exclusiveMinimum" : "minimum"] = limits.least;
  if (limits.has_most()) schema[limits.without_most ? "exclusiveMaximum" : "maximum"] = limits.most;
  return schema;
}

ordered_json number_schema(const std::string& type, const Limits& limits) {
  auto number = range_of(limits);
  number["type"] = type;
  auto forms = ordered_json::array({number});
  if (limits.minus_one) forms.push_back({{"const", -1}});
  forms.push_back(expression());
  return {{"anyOf", forms}};
}

/// What the loader takes for a field; a "value" that is no number may be anything.
ordered_json values_of(const Field& field) {
  const auto& kind = field.kind;
  if (kind == "boolean") return or_expression("boolean");
  if (kind == "integer" || kind == "number") return number_schema(kind, field.limits);
  const ordered_json text = {{"type", ordered_json::array({"string", "number"})}};
  if (kind == "text" && !field.limits.texts.empty())
    return any_of({{{"enum", field.limits.texts}}, expression()});
  if (kind == "text") return text;
  if (kind == "list of texts") {
    auto list = list_of(text);
    if (field.limits.is_required) list["minItems"] = 1;
    return any_of({list, text});  // one text is a list of one
  }
  if (kind == "list of integers") return any_of({list_of(or_expression("integer")), expression()});
  auto value = range_of(field.limits);
  if (field.limits.is_required) value["not"] = nothing();
  return value;
}

ordered_json schema_of(const Field& field) {
  auto schema = values_of(field);
  schema["description"] = field.meaning;
  if (!field.initial.is_null() && !field.limits.is_required) schema["default"] = field.initial;
  return schema;
}

std::string code(const ordered_json& value) {
  if (value.is_null() || value == "") return "";
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

std::string of_what(const std::string& modifier) {
  if (modifier.empty()) return "the recipe";
  return modifier == "*" ? "any" : "`" + modifier + "`";
}

std::string sparseml_rows() {
  std::string rows;
  for (const auto& [name, type] : registry().types()) {
    if (name == "NMPruningModifier") continue;  // SparseML has none
    const bool alias = name != type.name;
    rows += "| `" + name + "` | | " +
            (alias ? "mapped to `" + type.name + "`" : std::string("supported, fields as above")) + " |\n";
  }
  for (const auto& rule : sparseml_rules()) {
    const bool renamed = rule.fate == SparseMLRule::Fate::kRenamed;
    std::string what = fate_of(rule.fate);
    what += renamed ? " `" + rule.note + "`" : ": " + rule.note;
    if (!rule.only_if.empty()) what = "`" + rule.only_if + "` only: " + rule.note;
    rows += "| " + of_what(rule.modifier) + " | " + (rule.field.empty() ? "" : "`" + rule.field + "`") +
            " | " + cell(what) + " |\n";
  }
  for (const auto& [modifier, field, value] : sparseml_defaults())
    rows += "| `" + modifier + "` | `" + field + "` | `" + value + "` where it is left out |\n";
  return rows;
}

std::string table_of(const std::vector<Field>& fields) {
  std::string table = "| field | kind | default | meaning |\n|---|---|---|---|\n";
  for (const auto& field : fields)
    table += "| `" + field.name + "` | " + field.kind +
             (field.limits.are_none() ? "" : ": " + field.limits.text()) + " | " +
             (field.limits.is_required ? "required" : cell(code(field.initial))) + " | " +
             cell(field.meaning) + " |\n";
  return table;
}

/// Modifiers by name with their fields: a group that is a mapping.
ordered_json named_modifiers() {
  ordered_json all = ordered_json::object();
  for (const auto& [name, type] : registry().types()) {
    ordered_json fields = ordered_json::object(), required = ordered_json::array();
    for (const auto& field : fields_of(type)) {
      fields[field.name] = schema_of(field);
      if (field.limits.is_required) required.push_back(field.name);
    }
    all[name] = object_of(fields);
    if (required.empty())
      all[name]["type"] = ordered_json::array({"object", "null"});
    else
      all[name]["required"] = required;
  }
  auto schema = object_of(all);
  schema["minProperties"] = 1;
  return schema;
}

/// Editors drop the tag of `- !XModifier`: any modifier's fields may follow, each with what any takes there.
ordered_json tagged_modifier() {
  std::map<std::string, ordered_json> values;
  for (const auto& [name, type] : registry().types())
    for (const auto& field : fields_of(type)) {
      auto& known = values[field.name];
      auto taken = values_of(field);
      if (std::find(known.begin(), known.end(), taken) == known.end()) known.push_back(std::move(taken));
    }
  ordered_json fields = ordered_json::object();
  for (const auto& [name, all] : values)
    fields[name] = all.size() == 1 ? all.front() : ordered_json{{"anyOf", all}};
  auto schema = object_of(fields);
  schema["type"] = ordered_json::array({"object", "null"});
  return schema;
}

ordered_json group_schema() {
  const ordered_json named = {{"$ref", "#/definitions/named"}}, tagged = {{"$ref", "#/definitions/tagged"}};
  const ordered_json one = {{"allOf", ordered_json::array({named})}, {"maxProperties", 1}};
  auto list = list_of(any_of({one, tagged}));
  list["minItems"] = 1;
  return any_of({list, named});
}

ordered_json stage_schema() {
  const ordered_json metadata = {{"type", "object"}}, group = {{"$ref", "#/definitions/group"}};
  return {{"type", "object"},
          {"properties",
           {{"after", {{"type", "string"}}},
            {"start_epoch", or_expression("number")},
            {"run_type", {{"const", "train"}}},
            {"metadata", metadata},
            {"__metadata__", metadata}}},
          {"patternProperties", {{"modifiers$", group}}},
          {"additionalProperties", {{"$ref", "#/definitions/variable"}}}};
}

}  // namespace

nlohmann::json recipe_schema() {
  register_builtin_modifiers();
  ordered_json run = ordered_json::object();
  for (const auto& field : run_fields()) {
    run[field.name] = any_of({values_of(field), nothing()});
    run[field.name]["description"] = field.meaning;
  }
  auto run_mapping = object_of(run);
  run_mapping["description"] = "defaults of the flags of sparsify train";
  const ordered_json metadata = {{"type", ordered_json::array({"object", "null"})}},
                     group = {{"$ref", "#/definitions/group"}}, stage = {{"$ref", "#/definitions/stage"}},
                     variable = {{"$ref", "#/definitions/variable"}},
                     text = {{"type", ordered_json::array({"string", "number", "null"})}};
  const ordered_json not_nothing = {{"not", nothing()}};
  return ordered_json{
      {"$schema", "http://json-schema.org/draft-07/schema#"},
      {"title", "sparsify recipe"},
      {"type", "object"},
      {"definitions",
       {{"named", named_modifiers()},
        {"tagged", tagged_modifier()},
        {"group", group_schema()},
        {"variable", any_of({scalar(), list_of(scalar())})},
        {"stage", stage_schema()}}},
      {"properties",
       {{"version", {{"const", 1}, {"description", "1: this dialect, in which nothing is ignored"}}},
        {"description", text},
        {"metadata", metadata},
        {"__metadata__", metadata},
        {"extends", {{"type", "string"}, {"description", "a recipe whose keys these replace"}}},
        {"run", any_of({run_mapping, nothing()})}}},
      {"patternProperties", {{"modifiers$", any_of({group, nothing()})}}},
      {"additionalProperties", any_of({variable, stage, nothing()})},
      // A key without value removes the base's, so there must be one.
      {"if", {{"required", ordered_json::array({"extends"})}}},
      {"else",
       {{"properties", {{"run", {{"type", "object"}, {"additionalProperties", not_nothing}}}}},
        {"additionalProperties", not_nothing}}}};
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
    page += table_of(fields_of(type));
  }
  page +=
      "\n## run\n\nDefaults of the flags of `sparsify train`; its `--help` says where those of detectors "
      "differ.\n\n" +
      table_of(run_fields());
  page += "\n## From SparseML\n\n| modifier | parameter | here |\n|---|---|---|\n" + sparseml_rows();
  return page;
}

}  // namespace sparsify
