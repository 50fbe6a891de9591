// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace sparsify::detection {

/// One "[name]" of a darknet .cfg with its "key=value" lines; `check_keys` says which ones layers have.
class DarknetSection {
 public:
  DarknetSection(std::string name, std::string place) : name_(std::move(name)), place_(std::move(place)) {}

  const std::string& name() const { return name_; }
  /// Throws Error for a key that is there already, naming both lines. Of training settings in [net] the first
  /// one stays, as in darknet: published files repeat some.
  void set(const std::string& key, const std::string& value, const std::string& place);

  std::vector<std::string> keys() const;
  bool has(const std::string& key) const { return values_.count(key) > 0; }
  std::string text(const std::string& key, const std::string& otherwise) const;
  /// Throw Error with file and line when the value is not such a number or out of range.
  std::int64_t integer(const std::string& key, std::int64_t otherwise, std::int64_t lowest = 0,
                       std::int64_t highest = 1 << 20) const;
  double number(const std::string& key, double otherwise) const;
  std::vector<double> numbers(const std::string& key) const;
  std::vector<std::int64_t> integers(const std::string& key) const;

  /// Throws Error: "file.cfg:12: [route]: ...".
  [[noreturn]] void fail(const std::string& message) const;
  /// The same of one key that is there: "file.cfg:13: layers: ...".
  [[noreturn]] void fail_at(const std::string& key, const std::string& message) const;

 private:
  struct Entry {
    std::string value, place;
  };
  const Entry* find(const std::string& key) const;

  std::string name_, place_;
  std::map<std::string, Entry> values_;
};

/// All sections in order, the first being [net] or [network]. Throws Error with file and line.
std::vector<DarknetSection> parse_darknet_config(const std::string& text, const std::string& file);

}  // namespace sparsify::detection
