// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

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
};

}  // namespace sparsify
