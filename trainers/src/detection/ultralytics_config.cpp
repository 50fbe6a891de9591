// SPDX-License-Identifier: Apache-2.0
#include "detection/ultralytics_config.hpp"

#include <algorithm>
#include <map>

#include "sparsify/error.hpp"
#include "sparsify/suggest.hpp"

namespace sparsify::detection {
namespace {

constexpr std::int64_t kMostRepeats = 1000, kMostClasses = 100'000;

std::vector<YamlValue> columns(const YamlValue& row) {
  auto values = row.items();
  if (values.size() != 4)
    row.fail("expected [from, number, module, args], got " + std::to_string(values.size()) + " values");
  return values;
}

Anchors read_anchors(const YamlValue& head) {
  std::vector<double> sides;
  for (const auto& side : head.items()) sides.push_back(side.number(0.01, 1e5));
  if (sides.empty() || sides.size() % 2 != 0)
    head.fail("expected pairs of width and height in pixels, got " + std::to_string(sides.size()) +
              " numbers");
  Anchors anchors;
  for (std::size_t i = 0; i < sides.size(); i += 2) anchors.emplace_back(sides[i], sides[i + 1]);
  return anchors;
}

std::vector<Anchors> read_all_anchors(const YamlValue& value) {
  std::vector<Anchors> all;
  for (const auto& head : value.items()) {
    all.push_back(read_anchors(head));
    if (all.back().size() != all.front().size())
      head.fail("expected " + std::to_string(all.front().size()) + " anchors, as in the first list, got " +
                std::to_string(all.back().size()));
  }
  if (all.empty()) value.expected("a list of anchors for every input of Detect");
  return all;
}

/// The values by key, every key being a known one.
std::map<std::string, YamlValue> known_entries(const YamlValue& root) {
  static const std::vector<std::string> known = {
      "nc", "depth_multiple", "width_multiple", "activation", "anchors", "backbone", "head"};
  std::map<std::string, YamlValue> entries;
  for (const auto& [key, value] : root.entries()) {
    if (std::find(known.begin(), known.end(), key) == known.end())
      value.fail("models have no such key" + suggestion(key, known));
    entries.emplace(key, value);
  }
  return entries;
}

}  // namespace

ModelRow::ModelRow(const YamlValue& row) : row_(row), module_(row) {
  const auto values = columns(row);
  const auto from = values[0].named("from");
  from_ = from.is_list() ? from.items() : std::vector<YamlValue>{from};
  if (from_.empty()) from.expected("the rows that are read");
  number_ = values[1].named("number").integer(1, kMostRepeats);
  module_ = values[2].named("module");
  arguments_ = values[3].named("args").items();
}

void ModelRow::check_arguments(const std::vector<std::string>& names) const {
  if (arguments_.size() <= names.size()) return;
  std::string list;
  for (const auto& name : names) list += (list.empty() ? "" : ", ") + name;
  arguments_[names.size()].fail(module_.text() + " takes [" + list + "], got " +
                                std::to_string(arguments_.size()) + " values");
}

std::optional<YamlValue> ModelRow::argument(std::size_t index, const std::string& name) const {
  if (index >= arguments_.size() || arguments_[index].is_none()) return std::nullopt;
  return arguments_[index].named(name);
}

YamlValue ModelRow::needed_argument(std::size_t index, const std::string& name) const {
  const auto value = argument(index, name);
  if (!value) row_.fail(module_.text() + ": the argument '" + name + "' is missing");
  return *value;
}

std::int64_t ModelRow::integer(std::size_t index, const std::string& name, std::int64_t otherwise,
                               std::int64_t lowest, std::int64_t highest) const {
  const auto value = argument(index, name);
  return value ? value->integer(lowest, highest) : otherwise;
}

UltralyticsConfig parse_ultralytics_config(const std::string& text, const std::string& file) {
  const auto root = YamlValue::parse(text, file);
  const auto entries = known_entries(root);
  for (const char* key : {"nc", "anchors", "backbone", "head"})
    if (entries.count(key) == 0) root.fail("'" + std::string(key) + "' is missing");
  UltralyticsConfig config;
  config.classes = entries.at("nc").integer(1, kMostClasses);
  config.anchors = read_all_anchors(entries.at("anchors"));
  const auto multiple = [&](const char* key) {
    const auto found = entries.find(key);
    return found == entries.end() ? 1 : found->second.number(0.01, 16);
  };
  config.depth_multiple = multiple("depth_multiple");
  config.width_multiple = multiple("width_multiple");
  if (const auto found = entries.find("activation"); found != entries.end())
    config.activation = found->second;
  for (const char* part : {"backbone", "head"})
    for (const auto& row : entries.at(part).items()) config.rows.emplace_back(row);
  if (config.rows.empty()) entries.at("head").expected("rows that end with Detect");
  return config;
}

}  // namespace sparsify::detection
