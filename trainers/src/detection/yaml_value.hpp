// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace YAML {
class Node;
}

namespace sparsify::detection {

/// A value of a YAML file that knows what it is called and where it stands. Everything that throws Error
/// begins with "file:line:column: name: " and says what was found and what is expected.
class YamlValue {
 public:
  /// The file's root, a mapping.
  static YamlValue parse(const std::string& text, const std::string& file);

  bool is_list() const;
  bool is_mapping() const;
  /// Nothing, null or Python's None.
  bool is_none() const;
  bool is_text(const std::string& text) const;

  std::string text() const;
  std::int64_t integer(std::int64_t lowest, std::int64_t highest) const;
  double number(double lowest, double highest) const;
  bool flag() const;
  /// Of a list; they carry its name.
  std::vector<YamlValue> items() const;
  /// Of a mapping with unique texts as keys, in the file's order.
  std::vector<std::pair<std::string, YamlValue>> entries() const;
  /// The same value under another name.
  YamlValue named(std::string name) const;

  [[noreturn]] void fail(const std::string& message) const;
  [[noreturn]] void expected(const std::string& what, const std::string& hint = "") const;

 private:
  YamlValue(const YAML::Node& node, std::shared_ptr<const std::string> file, std::string name);
  std::string shown() const;

  std::shared_ptr<const YAML::Node> node_;  ///< assigning to a Node changes the tree
  std::shared_ptr<const std::string> file_;
  std::string name_;
};

}  // namespace sparsify::detection
