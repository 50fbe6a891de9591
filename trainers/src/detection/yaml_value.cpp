// SPDX-License-Identifier: Apache-2.0
#include "detection/yaml_value.hpp"

#include <yaml-cpp/yaml.h>

#include <charconv>
#include <cmath>
#include <optional>
#include <set>

#include "sparsify/error.hpp"

namespace sparsify::detection {
namespace {

std::string place(const std::string& file, const YAML::Mark& mark) {
  if (mark.is_null()) return file;
  return file + ":" + std::to_string(mark.line + 1) + ":" + std::to_string(mark.column + 1);
}

template <class Number>
std::optional<Number> parsed(const std::string& text) {
  Number value{};
  const auto* end = text.data() + text.size();
  const auto result = std::from_chars(text.data(), end, value);
  if (result.ec != std::errc() || result.ptr != end) return std::nullopt;
  return value;
}

std::string format(double value) {
  char buffer[32];
  return {buffer, std::to_chars(buffer, buffer + sizeof buffer, value).ptr};
}

}  // namespace

YamlValue YamlValue::parse(const std::string& text, const std::string& file) {
  try {
    const YamlValue root(YAML::Load(text), std::make_shared<const std::string>(file), "");
    if (!root.node_->IsMap()) throw Error(file + ": expected 'key: value' lines, got " + root.shown());
    return root;
  } catch (const YAML::Exception& error) {
    throw Error(place(file, error.mark) + ": not valid YAML: " + error.msg);
  }
}

YamlValue::YamlValue(const YAML::Node& node, std::shared_ptr<const std::string> file, std::string name)
    : node_(std::make_shared<const YAML::Node>(node)), file_(std::move(file)), name_(std::move(name)) {}

bool YamlValue::is_list() const { return node_->IsSequence(); }

bool YamlValue::is_mapping() const { return node_->IsMap(); }

bool YamlValue::is_text(const std::string& text) const {
  return node_->IsScalar() && node_->Scalar() == text;
}

bool YamlValue::is_none() const { return node_->IsNull() || is_text("None"); }

std::string YamlValue::text() const {
  if (!node_->IsScalar()) expected("a text");
  return node_->Scalar();
}

std::int64_t YamlValue::integer(std::int64_t lowest, std::int64_t highest) const {
  const auto value = node_->IsScalar() ? parsed<std::int64_t>(node_->Scalar()) : std::nullopt;
  if (!value || *value < lowest || *value > highest)
    expected("a whole number from " + std::to_string(lowest) + " to " + std::to_string(highest));
  return *value;
}

double YamlValue::number(double lowest, double highest) const {
  const auto value = node_->IsScalar() ? parsed<double>(node_->Scalar()) : std::nullopt;
  if (!value || !(*value >= lowest && *value <= highest))
    expected("a number from " + format(lowest) + " to " + format(highest));
  return *value;
}

bool YamlValue::flag() const {
  for (const char* yes : {"True", "true"})
    if (is_text(yes)) return true;
  for (const char* no : {"False", "false"})
    if (is_text(no)) return false;
  expected("True or False");
}

std::vector<YamlValue> YamlValue::items() const {
  if (!node_->IsSequence()) expected("a list");
  std::vector<YamlValue> items;
  for (const auto& item : *node_) items.push_back({item, file_, name_});
  return items;
}

std::vector<std::pair<std::string, YamlValue>> YamlValue::entries() const {
  if (!node_->IsMap()) expected("a mapping");
  std::vector<std::pair<std::string, YamlValue>> entries;
  std::set<std::string> seen;
  for (const auto& entry : *node_) {
    const YamlValue key(entry.first, file_, name_);
    const auto name = key.text();
    if (!seen.insert(name).second) key.fail("'" + name + "' is given twice");
    entries.emplace_back(name, YamlValue(entry.second, file_, name));
  }
  return entries;
}

YamlValue YamlValue::named(std::string name) const { return {*node_, file_, std::move(name)}; }

void YamlValue::fail(const std::string& message) const {
  throw Error(place(*file_, node_->Mark()) + ": " + (name_.empty() ? "" : name_ + ": ") + message);
}

void YamlValue::expected(const std::string& what, const std::string& hint) const {
  fail("expected " + what + ", got " + shown() + hint);
}

std::string YamlValue::shown() const {
  if (node_->IsSequence()) return "a list";
  if (node_->IsMap()) return "a mapping";
  return node_->IsScalar() ? "'" + node_->Scalar() + "'" : "nothing";
}

}  // namespace sparsify::detection
