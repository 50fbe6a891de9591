// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "detection/yaml_value.hpp"
#include "sparsify/detection/anchors.hpp"

namespace sparsify::detection {

/// One row of `backbone` or `head`: [from, number, module, args].
class ModelRow {
 public:
  explicit ModelRow(const YamlValue& row);

  const YamlValue& place() const { return row_; }
  const std::vector<YamlValue>& from() const { return from_; }
  std::int64_t number() const { return number_; }
  const YamlValue& module() const { return module_; }

  /// Throws Error when there are more arguments than names; `names` are for messages.
  void check_arguments(const std::vector<std::string>& names) const;
  /// Empty where the argument is left out or None.
  std::optional<YamlValue> argument(std::size_t index, const std::string& name) const;
  /// Throws Error where it is left out.
  YamlValue needed_argument(std::size_t index, const std::string& name) const;
  std::int64_t integer(std::size_t index, const std::string& name, std::int64_t otherwise,
                       std::int64_t lowest, std::int64_t highest) const;

 private:
  YamlValue row_;
  std::vector<YamlValue> from_;
  std::int64_t number_ = 1;
  YamlValue module_;
  std::vector<YamlValue> arguments_;
};

/// What a model file says, read but not yet understood as a network.
struct UltralyticsConfig {
  std::int64_t classes = 0;
  double depth_multiple = 1, width_multiple = 1;
  std::optional<YamlValue> activation;
  std::vector<Anchors> anchors;  ///< of each head
  std::vector<ModelRow> rows;    ///< of the backbone, then of the head
};

/// Throws Error naming file, line and column: keys that are unknown or missing, values of wrong kinds.
UltralyticsConfig parse_ultralytics_config(const std::string& text, const std::string& file);

}  // namespace sparsify::detection
