// SPDX-License-Identifier: Apache-2.0
#include "read_modifiers.hpp"

#include <optional>
#include <vector>

#include "field_reader.hpp"
#include "sparseml.hpp"
#include "sparsify/registry.hpp"
#include "sparsify/suggest.hpp"

namespace sparsify {
namespace {

const std::string& entry_form() {
  static const std::string form = "expected '- !NameOfModifier' with its fields below";
  return form;
}

/// A modifier as written: its name and place, and its fields where there are any.
struct Written {
  std::string name;
  yaml::Mark mark;
  const yaml::Node* fields = nullptr;
};

std::optional<Written> tagged(const yaml::Ref& entry, Diagnostics& diagnostics) {
  const auto& node = *entry.node;
  Written written{node.tag.substr(1), entry.mark, nullptr};
  if (node.kind == yaml::Kind::kMapping)
    written.fields = &node;
  else if (node.kind != yaml::Kind::kScalar || !node.text.empty()) {
    diagnostics.add(entry.mark,
                    "expected fields ('name: value') below " + node.tag + ", got " + describe(entry));
    return std::nullopt;
  }
  return written;
}

/// `NameOfModifier: {fields}`, in a list or in a group that is a mapping.
std::optional<Written> keyed(const yaml::Ref& key, const yaml::Ref& value, Diagnostics& diagnostics) {
  const auto& name = key.node->text;
  const bool empty = value.node->kind == yaml::Kind::kNull;
  if ((!empty && value.node->kind != yaml::Kind::kMapping) || !value.node->tag.empty()) {
    diagnostics.add(value.mark, "expected fields ('name: value') of " + name + ", got " + describe(value));
    return std::nullopt;
  }
  return Written{name, key.mark, empty ? nullptr : value.node.get()};
}

std::optional<Written> plain(const yaml::Ref& entry, Diagnostics& diagnostics) {
  const auto& node = *entry.node;
  if (node.kind != yaml::Kind::kMapping || node.entries.empty()) {
    diagnostics.add(entry.mark, entry_form() + ", got " + describe(entry));
    return std::nullopt;
  }
  const auto& [key, value] = node.entries.front();
  const auto& name = key.node->text;
  if (node.entries.size() > 1) {
    const bool flat = registry().find(name) && value.node->kind == yaml::Kind::kNull;
    auto message = "one list entry holds one modifier; " + entry_form();
    if (flat) message = "the fields of " + name + " must be indented deeper than its name";
    diagnostics.add(node.entries[1].first.mark, message);
    return std::nullopt;
  }
  return keyed(key, value, diagnostics);
}

std::string unknown_modifier(const std::string& name) {
  std::vector<std::string> known;
  std::string list;
  for (const auto& [known_name, type] : registry().types()) {
    known.push_back(known_name);
    list += (list.empty() ? "" : ", ") + known_name;
  }
  const auto full_name = name + "Modifier";
  auto hint = suggestion(name, known);
  if (registry().find(full_name)) hint = "; did you mean '" + full_name + "'?";
  return "unknown modifier '" + name + "'; expected one of " + list + hint;
}

void read_modifier(const Written& written, Recipe& recipe, Variables& variables, Diagnostics& diagnostics) {
  const auto* type = registry().find(written.name);
  if (!type) {
    diagnostics.add(written.mark, unknown_modifier(written.name));
    return;
  }
  const auto problems = diagnostics.count();
  FieldReader reader(written.fields, written.mark, variables, diagnostics);
  type->visit_defaults(reader);  // a first pass over throw-away options finds every mistake in form
  reader.report_unknown(written.name);
  if (diagnostics.count() != problems) return;
  try {
    type->add(recipe, reader, diagnostics.sources().where(written.mark));
  } catch (const InvalidField& error) {
    diagnostics.add(reader.mark_of(error.field()), error.what());
  } catch (const Error& error) {
    diagnostics.add(written.mark, written.name + ": " + error.what());
  }
}

/// The same for an entry in SparseML's words.
void read_sparseml_modifier(Written written, Recipe& recipe, Variables& variables, Diagnostics& diagnostics) {
  yaml::Node fields;  // anchored mappings are shared between entries: a copy is rewritten
  fields.kind = yaml::Kind::kMapping;
  if (written.fields) fields = *written.fields;
  if (!sparseml::adapt(written.name, fields, written.mark, variables, diagnostics)) return;
  written.fields = &fields;
  read_modifier(written, recipe, variables, diagnostics);
}

}  // namespace

void read_modifiers(const std::string& group, const yaml::Ref& modifiers, bool is_sparseml, Recipe& recipe,
                    Variables& variables, Diagnostics& diagnostics) {
  const auto& node = *modifiers.node;
  const bool list = node.kind == yaml::Kind::kSequence, mapping = node.kind == yaml::Kind::kMapping;
  if ((!list && !mapping) || !node.tag.empty()) {
    diagnostics.add(modifiers.mark, group + ": expected a list of modifiers ('- !NameOfModifier'), got " +
                                        describe(modifiers));
    return;
  }
  if (node.items.empty() && node.entries.empty())
    diagnostics.add(modifiers.mark, group + ": the list is empty; expected at least one modifier");
  const auto read = [&](const std::optional<Written>& written) {
    if (!written) return;
    is_sparseml ? read_sparseml_modifier(*written, recipe, variables, diagnostics)
                : read_modifier(*written, recipe, variables, diagnostics);
  };
  for (const auto& entry : node.items) {
    const bool local_tag = entry.node->tag.size() > 1 && entry.node->tag[0] == '!';
    read(local_tag ? tagged(entry, diagnostics) : plain(entry, diagnostics));
  }
  for (const auto& [key, value] : node.entries) read(keyed(key, value, diagnostics));
}

}  // namespace sparsify
