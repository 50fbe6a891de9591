// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <vector>

#include "sparsify/load_recipe.hpp"
#include "sparsify/registry.hpp"

namespace sparsify::test {

/// Every field of an entry as text: doubles as "%.17g", lists joined by ','.
inline std::map<std::string, std::string> fields_of(const Recipe::Entry& entry) {
  struct Collect : FieldVisitor {
    std::map<std::string, std::string> fields;
    void operator()(const char* name, bool& value, const char*) override {
      fields[name] = value ? "true" : "false";
    }
    void operator()(const char* name, std::int64_t& value, const char*) override {
      fields[name] = std::to_string(value);
    }
    void operator()(const char* name, double& value, const char*) override {
      char text[40];
      std::snprintf(text, sizeof text, "%.17g", value);
      fields[name] = text;
    }
    void operator()(const char* name, std::string& value, const char*) override { fields[name] = value; }
    void operator()(const char* name, std::vector<std::string>& value, const char*) override {
      for (const auto& item : value) fields[name] += (fields[name].empty() ? "" : ",") + item;
    }
    void operator()(const char* name, std::vector<std::int64_t>& value, const char*) override {
      for (const auto item : value) fields[name] += (fields[name].empty() ? "" : ",") + std::to_string(item);
    }
    void operator()(const char* name, Value& value, const char*) override { fields[name] = as_text(value); }

    static std::string as_text(const Value& value) {
      std::string inside;
      char number[40];
      std::snprintf(number, sizeof number, "%.17g", value.number);
      if (value.is(Value::Kind::kNumber)) return number;
      if (value.is(Value::Kind::kList))
        for (const auto& item : value.items) inside += (inside.empty() ? "" : ",") + as_text(item);
      if (value.is(Value::Kind::kMapping))
        for (const auto& [key, item] : value.entries)
          inside += (inside.empty() ? "" : ",") + key + ":" + as_text(item);
      if (value.is(Value::Kind::kList)) return "[" + inside + "]";
      if (value.is(Value::Kind::kMapping)) return "{" + inside + "}";
      return value.is(Value::Kind::kText) ? value.text : describe(value);
    }
  } collect;
  entry.visit_fields(collect);
  return collect.fields;
}

inline double number_of(const Recipe::Entry& entry, const std::string& field) {
  return std::stod(fields_of(entry).at(field));
}

/// What is said against a recipe, "no error" where nothing is.
inline std::string message_of(const std::string& text, const RecipeArguments& arguments = {}) {
  try {
    parse_recipe(text, "r.yaml", arguments);
  } catch (const RecipeError& error) {
    return error.what();
  }
  return "no error";
}

/// A user's own modifier, as short as they come, with every kind of field.
class Probe : public Modifier {
 public:
  static constexpr const char* kName = "ProbeModifier";
  struct Options {
    bool flag = false;
    std::int64_t count = 1;
    double rate = 0.5;
    std::string label = "none";
    std::vector<std::string> names{};
    template <class Visitor>
    void fields(Visitor& visit) {
      visit("flag", flag, "");
      visit("count", count, "");
      visit("rate", rate, "");
      visit("label", label, "");
      visit("names", names, "");
    }
  };
  explicit Probe(const Options& options) : Modifier(Window{}) {
    if (options.count < 0) throw InvalidField("count", "expected at least 0");
    if (options.label == "trouble") throw Error("cannot be built");
  }
};
SPARSIFY_REGISTER_MODIFIER(Probe);

}  // namespace sparsify::test
