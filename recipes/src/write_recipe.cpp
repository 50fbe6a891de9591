// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "number.hpp"
#include "sparsify/load_recipe.hpp"

namespace sparsify {
namespace {

/// Writes each field as one line of YAML below its modifier.
class FieldWriter : public FieldVisitor {
 public:
  explicit FieldWriter(std::string& out) : out_(out) {}

  void operator()(const char* name, bool& value, const char*) override {
    line(name, value ? "true" : "false");
  }
  void operator()(const char* name, std::int64_t& value, const char*) override {
    line(name, std::to_string(value));
  }
  void operator()(const char* name, double& value, const char*) override {
    if (!std::isfinite(value))
      throw Error(std::string(name) + ": a recipe cannot hold " + std::to_string(value));
    line(name, format_number(value));
  }
  void operator()(const char* name, std::string& value, const char*) override { line(name, quoted(value)); }
  void operator()(const char* name, std::vector<std::string>& value, const char*) override {
    std::string list;
    for (const auto& item : value) list += (list.empty() ? "" : ", ") + quoted(item);
    line(name, "[" + list + "]");
  }

 private:
  void line(const char* name, const std::string& value) {
    out_ += "    " + std::string(name) + ": " + value + "\n";
  }

  static std::string quoted(const std::string& text) {
    if (text.rfind("eval(", 0) == 0)
      throw Error("a recipe cannot hold the text '" + text + "': it reads as an expression");
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

  std::string& out_;
};

}  // namespace

std::string write_recipe(const Recipe& recipe) {
  std::string text = "modifiers:\n";
  for (const auto& entry : recipe.entries()) {
    text += "  - !" + entry.type + "\n";
    FieldWriter writer(text);
    entry.visit_fields(writer);
  }
  return text;
}

}  // namespace sparsify
