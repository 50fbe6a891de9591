// SPDX-License-Identifier: Apache-2.0
#include "json_schema.hpp"

#include <algorithm>
#include <cmath>
#include <regex>
#include <set>
#include <stdexcept>
#include <string>

namespace cli {
namespace {

using nlohmann::json;

bool is_of_type(const json& value, const std::string& type) {
  if (type == "integer") return value.is_number() && value.get<double>() == std::floor(value.get<double>());
  const std::string own = value.is_number() ? "number" : value.type_name();
  return type == own;
}

class Validator {
 public:
  explicit Validator(const json& root) : root_(root) {}

  bool fits(const json& value, const json& schema) const {
    if (const auto reference = schema.find("$ref"); reference != schema.end())
      return fits(value, root_.at(json::json_pointer(reference->get<std::string>().substr(1))));
    return std::all_of(schema.items().begin(), schema.items().end(),
                       [&](const auto& word) { return holds(value, schema, word.key(), word.value()); });
  }

 private:
  bool holds(const json& value, const json& schema, const std::string& word, const json& rule) const {
    static const std::set<std::string> silent = {"$schema", "title",      "definitions",
                                                 "then",    "else",       "description",
                                                 "default", "properties", "patternProperties"};
    const auto each_fits = [&](const json& one) { return fits(value, one); };
    if (word == "type") {
      const auto types = rule.is_array() ? rule : json::array({rule});
      return std::any_of(types.begin(), types.end(), [&](const json& t) { return is_of_type(value, t); });
    }
    if (word == "const") return value == rule;
    if (word == "enum") return std::find(rule.begin(), rule.end(), value) != rule.end();
    if (word == "minimum") return !value.is_number() || value >= rule;
    if (word == "exclusiveMinimum") return !value.is_number() || value > rule;
    if (word == "maximum") return !value.is_number() || value <= rule;
    if (word == "exclusiveMaximum") return !value.is_number() || value < rule;
    if (word == "not") return !fits(value, rule);
    if (word == "anyOf") return std::any_of(rule.begin(), rule.end(), each_fits);
    if (word == "allOf") return std::all_of(rule.begin(), rule.end(), each_fits);
    if (word == "if") return fits(value, schema.value(fits(value, rule) ? "then" : "else", json::object()));
    if (word == "pattern")
      return !value.is_string() ||
             std::regex_search(value.get<std::string>(), std::regex(rule.get<std::string>()));
    if (word == "items")
      return !value.is_array() ||
             std::all_of(value.begin(), value.end(), [&](const json& item) { return fits(item, rule); });
    if (word == "minItems") return !value.is_array() || value.size() >= rule.get<std::size_t>();
    if (word == "minProperties") return !value.is_object() || value.size() >= rule.get<std::size_t>();
    if (word == "maxProperties") return !value.is_object() || value.size() <= rule.get<std::size_t>();
    if (word == "required")
      return !value.is_object() || std::all_of(rule.begin(), rule.end(), [&](const json& name) {
        return value.contains(name.get<std::string>());
      });
    if (word == "additionalProperties") return others_fit(value, schema, rule);
    if (!silent.count(word)) throw std::runtime_error("the schema says '" + word + "'");
    return (word != "properties" && word != "patternProperties") ||
           named_fit(value, rule, word == "properties");
  }

  static bool matches(const std::string& key, const std::string& name, bool exact) {
    return exact ? key == name : std::regex_search(key, std::regex(name));
  }

  bool named_fit(const json& value, const json& names, bool exact) const {
    if (!value.is_object()) return true;
    for (const auto& [key, entry] : value.items())
      for (const auto& [name, schema] : names.items())
        if (matches(key, name, exact) && !fits(entry, schema)) return false;
    return true;
  }

  bool others_fit(const json& value, const json& schema, const json& rule) const {
    if (!value.is_object()) return true;
    const auto exact = schema.value("properties", json::object());
    const auto patterns = schema.value("patternProperties", json::object());
    for (const auto& [key, entry] : value.items()) {
      bool named = exact.contains(key);
      for (const auto& [pattern, ignored] : patterns.items()) named |= matches(key, pattern, false);
      if (!named && (rule == false || (rule.is_object() && !fits(entry, rule)))) return false;
    }
    return true;
  }

  const json& root_;
};

}  // namespace

bool fits(const json& document, const json& schema) { return Validator(schema).fits(document, schema); }

}  // namespace cli
