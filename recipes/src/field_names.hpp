// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "sparsify/registry.hpp"

namespace sparsify {

/// The names of a registered modifier's fields; none for a name that is not registered.
inline std::vector<std::string> field_names(const std::string& modifier) {
  struct Names : FieldVisitor {
    std::vector<std::string> all;
    void operator()(const char* name, bool&, const char*) override { all.emplace_back(name); }
    void operator()(const char* name, std::int64_t&, const char*) override { all.emplace_back(name); }
    void operator()(const char* name, double&, const char*) override { all.emplace_back(name); }
    void operator()(const char* name, std::string&, const char*) override { all.emplace_back(name); }
    void operator()(const char* name, std::vector<std::string>&, const char*) override {
      all.emplace_back(name);
    }
    void operator()(const char* name, std::vector<std::int64_t>&, const char*) override {
      all.emplace_back(name);
    }
    void operator()(const char* name, Value&, const char*) override { all.emplace_back(name); }
  } names;
  if (const auto* type = registry().find(modifier)) type->visit_defaults(names);
  return names.all;
}

}  // namespace sparsify
