// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "sparsify/error.hpp"

namespace sparsify::weights {

/// Walks through bytes in memory; every step past the end is an Error. Numbers are little-endian, as this
/// machine.
class ByteReader {
 public:
  ByteReader(std::string_view bytes, std::string name) : bytes_(bytes), name_(std::move(name)) {}

  size_t position() const { return position_; }
  size_t remaining() const { return bytes_.size() - position_; }

  std::string_view take(uint64_t count) {
    if (count > remaining()) {
      fail("is cut off or damaged: " + std::to_string(count) + " bytes expected, " +
           std::to_string(remaining()) + " are left");
    }
    const auto taken = bytes_.substr(position_, count);
    position_ += count;
    return taken;
  }

  template <typename Number>
  Number number() {
    Number value;
    std::memcpy(&value, take(sizeof(Number)).data(), sizeof(Number));
    return value;
  }

  /// The text up to the next line end, which is consumed but not returned.
  std::string_view line() {
    const auto end = bytes_.find('\n', position_);
    if (end == std::string_view::npos) fail("is cut off or damaged: a line end is missing");
    const auto text = take(end - position_);
    ++position_;
    return text;
  }

  [[noreturn]] void fail(const std::string& message) const {
    throw Error(name_ + ", byte " + std::to_string(position_) + ": " + message);
  }

 private:
  std::string_view bytes_;
  std::string name_;
  size_t position_ = 0;
};

}  // namespace sparsify::weights
