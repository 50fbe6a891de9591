// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "container.hpp"
#include "number.hpp"
#include "sparseml.hpp"
#include "sparsify/load_recipe.hpp"

namespace sparsify {
namespace {

/// What YAML takes for a key.
constexpr std::size_t kMostOfKey = 1000;

std::string quoted(const std::string& text) {
  static const char* const kHex = "0123456789ABCDEF";
  std::string result = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\')
      result += {'\\', c};
    else if (byte < 0x20 || byte == 0x7F)
      result += {'\\', 'x', kHex[byte >> 4], kHex[byte & 15]};
    else
      result += c;
  }
  return result + "\"";
}

std::string quoted_value(const std::string& text) {
  if (text.rfind("eval(", 0) == 0)
    throw Error("a recipe cannot hold the text '" + text + "': it reads as an expression");
  return quoted(text);
}

std::string quoted_key(const std::string& text) {
  auto key = quoted(text);
  if (key.size() > kMostOfKey)
    throw Error("a recipe cannot hold a key of more than 1000 characters, got '" + text.substr(0, 57) +
                "...'");
  return key;
}

std::string number(const char* name, double value) {
  if (!std::isfinite(value))
    throw Error(std::string(name) + ": a recipe cannot hold " + std::to_string(value));
  return format_number(value);
}

std::string flow(const char* name, const Value& value) {
  std::string inside;
  switch (value.kind) {
    case Value::Kind::kNone:
      return "null";
    case Value::Kind::kBoolean:
      return value.number != 0 ? "true" : "false";
    case Value::Kind::kNumber:
      return number(name, value.number);
    case Value::Kind::kText:
      return quoted_value(value.text);
    case Value::Kind::kList:
      for (const auto& item : value.items) inside += (inside.empty() ? "" : ", ") + flow(name, item);
      return "[" + inside + "]";
    case Value::Kind::kMapping:
      for (const auto& [key, item] : value.entries) {
        quoted_value(key);  // a key may be an expression, too
        inside += (inside.empty() ? "" : ", ") + quoted_key(key) + ": " + flow(name, item);
      }
      return "{" + inside + "}";
  }
  return "";
}

/// Writes each field as one line of YAML below its modifier.
class FieldWriter : public FieldVisitor {
 public:
  FieldWriter(std::string& out, std::string indent) : out_(out), indent_(std::move(indent)) {}

  void operator()(const char* name, bool& value, const char*) override {
    line(name, value ? "true" : "false");
  }
  void operator()(const char* name, std::int64_t& value, const char*) override {
    line(name, std::to_string(value));
  }
  void operator()(const char* name, double& value, const char*) override { line(name, number(name, value)); }
  void operator()(const char* name, std::string& value, const char*) override {
    line(name, quoted_value(value));
  }
  void operator()(const char* name, std::vector<std::string>& value, const char*) override {
    std::string list;
    for (const auto& item : value) list += (list.empty() ? "" : ", ") + quoted_value(item);
    line(name, "[" + list + "]");
  }
  void operator()(const char* name, std::vector<std::int64_t>& value, const char*) override {
    std::string list;
    for (const auto item : value) list += (list.empty() ? "" : ", ") + std::to_string(item);
    line(name, "[" + list + "]");
  }
  void operator()(const char* name, Value& value, const char*) override {
    if (!value.is(Value::Kind::kNone)) line(name, flow(name, value));
  }

 private:
  void line(const char* name, const std::string& value) { out_ += indent_ + name + ": " + value + "\n"; }

  std::string& out_;
  std::string indent_;
};

bool is_text(const std::string& run_key) {
  return std::any_of(run_keys().begin(), run_keys().end(),
                     [&](const RunKey& key) { return key.name == run_key && key.kind == RunKeyKind::kText; });
}

/// Overlaps are allowed in SparseML's dialect only, which tags make where no version says otherwise.
std::string write_version(const RecipeFile& file) {
  if (!file.recipe.overlaps_allowed) return "version: 1\n";
  if (!sparseml::is_sorted(file.recipe))
    throw Error("a recipe with overlaps cannot be written unless what ends later comes later");
  return file.sparseml && !file.version.empty() ? "version: " + quoted_value(file.version) + "\n" : "";
}

std::string write_head(const RecipeFile& file) {
  auto text = write_version(file);
  if (!file.description.empty()) text += "description: " + quoted_value(file.description) + "\n";
  if (!file.metadata.empty()) text += "metadata:\n";
  for (const auto& [key, value] : file.metadata)
    text += "  " + quoted_key(key) + ": " + flow("metadata", value) + "\n";
  if (!file.run.empty()) text += "run:\n";
  for (const auto& [key, value] : file.run)
    text += "  " + key + ": " + (is_text(key) ? quoted_value(value.value) : value.value) + "\n";
  return text;
}

std::string write_modifiers(const Recipe& recipe) {
  const auto& entries = recipe.entries();
  const bool staged =
      std::any_of(entries.begin(), entries.end(), [](const auto& entry) { return entry.offset != 0; });
  std::string text = staged ? "" : "modifiers:\n", indent = staged ? "  " : "";
  for (std::size_t i = 0, stages = 0; i < entries.size(); ++i) {
    if (staged && (i == 0 || entries[i].offset != entries[i - 1].offset))
      text += "part_" + std::to_string(++stages) +
              "_stage:\n  start_epoch: " + format_number(entries[i].offset) + "\n  modifiers:\n";
    text += indent + "  - !" + entries[i].type + "\n";
    FieldWriter writer(text, indent + "    ");
    entries[i].visit_fields(writer);
  }
  return text;
}

}  // namespace

std::string write_recipe(const RecipeFile& file) {
  auto text = write_head(file) + write_modifiers(file.recipe);
  if (text.size() > kMaxBytes) throw Error("the recipe is larger than 1 MiB: it could not be loaded again");
  return text;
}

std::string write_recipe(const Recipe& recipe) {
  RecipeFile file;
  file.recipe = recipe;
  return write_recipe(file);
}

}  // namespace sparsify
