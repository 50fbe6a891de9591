// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sparsify/limits.hpp"
#include "sparsify/value.hpp"

namespace sparsify {

/// Visits the options of a modifier, one call per field. A modifier's `fields()` lists them once; YAML
/// reading, writing, the JSON schema and the reference page are visitors. A visitor overrides what it cares
/// about.
///
///   struct Options {
///     double stddev = 0.01;
///     template <class Visitor> void fields(Visitor& visit) { visit("stddev", stddev, "of the noise"); }
///   };
///
/// A field that does not take everything of its kind says so in a fourth argument, `above(0)`, and so does
/// one that has no good default: `above(0).required()`.
class FieldVisitor {
 public:
  virtual ~FieldVisitor() = default;
  virtual void operator()(const char* /*name*/, bool& /*value*/, const char* /*meaning*/) {}
  virtual void operator()(const char* /*name*/, std::int64_t& /*value*/, const char* /*meaning*/) {}
  virtual void operator()(const char* /*name*/, double& /*value*/, const char* /*meaning*/) {}
  virtual void operator()(const char* /*name*/, std::string& /*value*/, const char* /*meaning*/) {}
  virtual void operator()(const char* /*name*/, std::vector<std::string>& /*value*/,
                          const char* /*meaning*/) {}
  virtual void operator()(const char* /*name*/, std::vector<std::int64_t>& /*value*/,
                          const char* /*meaning*/) {}
  virtual void operator()(const char* /*name*/, Value& /*value*/, const char* /*meaning*/) {}

  template <class T>
  void operator()(const char* name, T& value, const char* meaning, const Limits& limits) {
    limits_ = limits;
    (*this)(name, value, meaning);
    limits_ = {};
  }

 protected:
  /// Those of the field at hand. Of a Value they concern numbers and leave the rest to the modifier.
  const Limits& limits() const { return limits_; }

 private:
  Limits limits_;
};

/// Throws InvalidField for an option outside its limits.
class LimitCheck : public FieldVisitor {
 public:
  void operator()(const char* name, std::int64_t& value, const char*) override {
    limits().check(name, static_cast<double>(value));
  }
  void operator()(const char* name, double& value, const char*) override { limits().check(name, value); }
  void operator()(const char* name, std::string& value, const char*) override { limits().check(name, value); }
  void operator()(const char* name, std::vector<std::string>& value, const char*) override {
    if (value.empty()) check_not_missing(name);
  }
  void operator()(const char* name, Value& value, const char*) override {
    if (value.is(Value::Kind::kNone)) check_not_missing(name);
    if (value.is(Value::Kind::kNumber)) limits().check(name, value.number);
  }

 private:
  void check_not_missing(const char* name) const {
    if (limits().is_required) throw InvalidField(name, limits().missing());
  }
};

}  // namespace sparsify
