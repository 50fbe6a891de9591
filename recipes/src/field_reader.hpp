// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "diagnostics.hpp"
#include "node.hpp"
#include "sparsify/fields.hpp"
#include "variables.hpp"

namespace sparsify {

/// Fills a modifier's options from the mapping of its recipe entry, leaving fields that are not written at
/// their defaults. Mistakes are collected, not thrown, so that one entry can report several.
class FieldReader : public FieldVisitor {
 public:
  /// `fields` may be null: an entry without any. `mark`: the entry's.
  FieldReader(const yaml::Node* fields, yaml::Mark mark, Variables& variables, Diagnostics& diagnostics);

  void operator()(const char* name, bool& value, const char* meaning) override;
  void operator()(const char* name, std::int64_t& value, const char* meaning) override;
  void operator()(const char* name, double& value, const char* meaning) override;
  void operator()(const char* name, std::string& value, const char* meaning) override;
  void operator()(const char* name, std::vector<std::string>& value, const char* meaning) override;
  void operator()(const char* name, std::vector<std::int64_t>& value, const char* meaning) override;
  void operator()(const char* name, Value& value, const char* meaning) override;

  /// Reports the fields that were written and never asked for.
  void report_unknown(const std::string& modifier);
  /// Where the field's value is written, or the entry when it is not.
  yaml::Mark mark_of(const std::string& field) const;

 private:
  const yaml::Ref* find(const char* name);
  void read(const char* name, const std::function<void(const yaml::Ref&)>& assign);
  const yaml::Node& list(const yaml::Ref& value, const char* of_what) const;

  const yaml::Node* fields_;
  yaml::Mark mark_;
  Variables& variables_;
  Diagnostics& diagnostics_;
  std::vector<std::string> asked_;
};

}  // namespace sparsify
