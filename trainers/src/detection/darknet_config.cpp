// SPDX-License-Identifier: Apache-2.0
#include "detection/darknet_config.hpp"

#include <charconv>
#include <cmath>
#include <sstream>

#include "sparsify/error.hpp"

namespace sparsify::detection {
namespace {

std::string trimmed(const std::string& text) {
  const auto begin = text.find_first_not_of(" \t\r");
  if (begin == std::string::npos) return "";
  return text.substr(begin, text.find_last_not_of(" \t\r") - begin + 1);
}

template <class Number>
bool parse(const std::string& text, Number& value) {
  const auto* end = text.data() + text.size();
  // darknet files write "+1" and ".5".
  const auto* begin = text.data() + (!text.empty() && text.front() == '+' ? 1 : 0);
  const auto result = std::from_chars(begin, end, value);
  return result.ec == std::errc() && result.ptr == end;
}

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, ',');)
    if (part = trimmed(part); !part.empty()) parts.push_back(part);
  return parts;
}

bool is_net(const std::string& section) { return section == "net" || section == "network"; }

// Of [net]; the rest are training settings.
bool shapes_network(const std::string& key) { return key == "width" || key == "height" || key == "channels"; }

}  // namespace

const DarknetSection::Entry* DarknetSection::find(const std::string& key) const {
  const auto found = values_.find(key);
  return found == values_.end() ? nullptr : &found->second;
}

void DarknetSection::set(const std::string& key, const std::string& value, const std::string& place) {
  const auto [entry, is_new] = values_.try_emplace(key, Entry{value, place});
  if (is_new || (is_net(name_) && !shapes_network(key))) return;
  throw Error(place + ": " + key + ": given twice in one [" + name_ + "], first at " + entry->second.place);
}

std::vector<std::string> DarknetSection::keys() const {
  std::vector<std::string> keys;
  for (const auto& [key, entry] : values_) keys.push_back(key);
  return keys;
}

void DarknetSection::fail(const std::string& message) const {
  throw Error(place_ + ": [" + name_ + "]: " + message);
}

void DarknetSection::fail_at(const std::string& key, const std::string& message) const {
  throw Error(values_.at(key).place + ": " + key + ": " + message);
}

std::string DarknetSection::text(const std::string& key, const std::string& otherwise) const {
  const auto* entry = find(key);
  return entry ? entry->value : otherwise;
}

std::int64_t DarknetSection::integer(const std::string& key, std::int64_t otherwise, std::int64_t lowest,
                                     std::int64_t highest) const {
  const auto* entry = find(key);
  if (!entry) return otherwise;
  std::int64_t value = 0;
  if (!parse(entry->value, value) || value < lowest || value > highest)
    throw Error(entry->place + ": " + key + ": expected a whole number from " + std::to_string(lowest) +
                " to " + std::to_string(highest) + ", got '" + entry->value + "'");
  return value;
}

double DarknetSection::number(const std::string& key, double otherwise) const {
  const auto* entry = find(key);
  if (!entry) return otherwise;
  double value = 0;
  if (!parse(entry->value, value) || !std::isfinite(value))
    throw Error(entry->place + ": " + key + ": expected a number, got '" + entry->value + "'");
  return value;
}

std::vector<double> DarknetSection::numbers(const std::string& key) const {
  const auto* entry = find(key);
  std::vector<double> values;
  if (!entry) return values;
  for (const auto& part : split(entry->value)) {
    double value = 0;
    if (!parse(part, value) || !std::isfinite(value))
      throw Error(entry->place + ": " + key + ": expected numbers separated by commas, got '" + part + "'");
    values.push_back(value);
  }
  return values;
}

std::vector<std::int64_t> DarknetSection::integers(const std::string& key) const {
  std::vector<std::int64_t> whole;
  for (const double value : numbers(key)) {
    if (value != std::floor(value) || std::fabs(value) > 1e6)
      throw Error(find(key)->place + ": " + key + ": expected whole numbers");
    whole.push_back(static_cast<std::int64_t>(value));
  }
  return whole;
}

std::vector<DarknetSection> parse_darknet_config(const std::string& text, const std::string& file) {
  std::vector<DarknetSection> sections;
  std::istringstream stream(text);
  int number = 0;
  for (std::string raw; std::getline(stream, raw);) {
    const auto place = file + ":" + std::to_string(++number);
    const auto line = trimmed(raw.substr(0, raw.find_first_of("#;")));
    if (line.empty()) continue;
    if (line.front() == '[') {
      if (line.back() != ']') throw Error(place + ": a section begins here, but its ']' is missing");
      sections.emplace_back(line.substr(1, line.size() - 2), place);
      continue;
    }
    const auto equals = line.find('=');
    if (equals == std::string::npos)
      throw Error(place + ": expected [section] or key=value, got '" + line + "'");
    if (sections.empty()) throw Error(place + ": '" + line + "' stands before the first [section]");
    sections.back().set(trimmed(line.substr(0, equals)), trimmed(line.substr(equals + 1)), place);
  }
  if (sections.empty() || !is_net(sections.front().name()))
    throw Error(file + ": not a darknet configuration: it must begin with [net]");
  return sections;
}

}  // namespace sparsify::detection
