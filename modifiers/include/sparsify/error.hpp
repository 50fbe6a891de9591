// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

namespace sparsify {

/// Every error this library reports about its input or use: the message says where, what, and what was
/// expected.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A modifier's field holds a value outside its range. The recipe loader adds the field's line and column.
class InvalidField : public Error {
 public:
  InvalidField(std::string field, const std::string& message)
      : Error(field + ": " + message), field_(std::move(field)), reason_(message) {}

  const std::string& field() const { return field_; }
  /// The message without the field's name.
  const std::string& reason() const { return reason_; }

 private:
  std::string field_;
  std::string reason_;
};

}  // namespace sparsify
