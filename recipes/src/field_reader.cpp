// SPDX-License-Identifier: Apache-2.0
#include "field_reader.hpp"

#include <algorithm>

#include "scalar_types.hpp"
#include "sparsify/suggest.hpp"

namespace sparsify {

FieldReader::FieldReader(const yaml::Node* fields, yaml::Mark mark, Variables& variables,
                         Diagnostics& diagnostics)
    : fields_(fields), mark_(mark), variables_(variables), diagnostics_(diagnostics) {}

const yaml::Ref* FieldReader::find(const char* name) {
  asked_.emplace_back(name);
  if (!fields_) return nullptr;
  for (const auto& [key, value] : fields_->entries)
    if (key.node->text == name) return &value;
  return nullptr;
}

void FieldReader::read(const char* name, const std::function<void(const yaml::Ref&)>& assign) {
  const auto* value = find(name);
  if (!value && limits().is_required) diagnostics_.add(mark_, std::string(name) + ": " + limits().missing());
  if (!value) return;
  try {
    assign(*value);
  } catch (const ValueError& error) {
    diagnostics_.add(error.mark(), std::string(name) + ": " + error.what());
  } catch (const InvalidField& error) {
    diagnostics_.add(value->mark, error.what());
  }
}

void FieldReader::operator()(const char* name, bool& value, const char*) {
  read(name, [&](const yaml::Ref& written) { value = read_boolean(written, variables_); });
}

void FieldReader::operator()(const char* name, std::int64_t& value, const char*) {
  read(name, [&](const yaml::Ref& written) {
    value = read_integer(written, variables_);
    limits().check(name, static_cast<double>(value));
  });
}

void FieldReader::operator()(const char* name, double& value, const char*) {
  read(name, [&](const yaml::Ref& written) {
    value = read_number(written, variables_);
    limits().check(name, value);
  });
}

void FieldReader::operator()(const char* name, std::string& value, const char*) {
  read(name, [&](const yaml::Ref& written) {
    value = read_text(written, variables_);
    limits().check(name, value);
  });
}

void FieldReader::operator()(const char* name, std::vector<std::string>& value, const char*) {
  read(name, [&](const yaml::Ref& written) {
    const auto meant = variables_.follow(written);
    if (meant.node->kind == yaml::Kind::kScalar) {  // `params: __ALL_PRUNABLE__` is a list of one
      value = {read_text(meant, variables_)};
      return;
    }
    value.clear();
    for (const auto& item : list(meant, "a list of texts").items)
      value.push_back(read_text(item, variables_));
  });
}

void FieldReader::operator()(const char* name, std::vector<std::int64_t>& value, const char*) {
  read(name, [&](const yaml::Ref& written) {
    const auto meant = variables_.follow(written);
    value.clear();
    for (const auto& item : list(meant, "a list of whole numbers").items)
      value.push_back(read_integer(item, variables_));
  });
}

void FieldReader::operator()(const char* name, Value& value, const char*) {
  read(name, [&](const yaml::Ref& written) {
    value = read_value(written, variables_);
    if (value.is(Value::Kind::kNumber)) limits().check(name, value.number);
  });
}

const yaml::Node& FieldReader::list(const yaml::Ref& value, const char* of_what) const {
  if (value.node->kind != yaml::Kind::kSequence || !value.node->tag.empty())
    throw ValueError(value.mark, std::string("expected ") + of_what + ", got " + describe(value));
  return *value.node;
}

void FieldReader::report_unknown(const std::string& modifier) {
  if (!fields_) return;
  for (const auto& [key, value] : fields_->entries) {
    const auto& name = key.node->text;
    if (std::find(asked_.begin(), asked_.end(), name) != asked_.end()) continue;
    std::string known;
    for (const auto& field : asked_) known += (known.empty() ? "" : ", ") + field;
    diagnostics_.add(key.mark, "unknown field '" + name + "'; " +
                                   (known.empty() ? modifier + " has none"
                                                  : "expected one of " + known + " in " + modifier) +
                                   suggestion(name, asked_));
  }
}

yaml::Mark FieldReader::mark_of(const std::string& field) const {
  if (!fields_) return mark_;
  for (const auto& [key, value] : fields_->entries)
    if (key.node->text == field) return value.mark;
  return mark_;
}

}  // namespace sparsify
