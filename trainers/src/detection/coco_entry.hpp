// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "sparsify/error.hpp"

namespace sparsify::detection {

/// An entry of a list of COCO's instances that knows its place: what it throws begins with
/// "file: images[3] (id 42): ".
class CocoEntry {
 public:
  CocoEntry(const std::string& file, const char* list, std::size_t index, const nlohmann::json& entry)
      : file_(file), list_(list), index_(index), entry_(entry) {}

  /// "images[3] (id 42)", without the id where it has none.
  std::string name() const {
    const auto id = entry_.is_object() ? entry_.find("id") : entry_.end();
    return list_ + ("[" + std::to_string(index_) + "]") +
           (entry_.is_object() && id != entry_.end() ? " (id " + shown(*id) + ")" : "");
  }

  std::int64_t integer(const char* key) const {
    const auto& value = at(key, "a whole number");
    if (!is_whole(value)) expected("a whole number", key, shown(value));
    return whole(value);
  }
  /// Nothing where it is not given.
  std::optional<std::int64_t> optional_integer(const char* key) const {
    if (entry_.is_object() && !entry_.contains(key)) return std::nullopt;
    return integer(key);
  }
  /// Nothing where it is anything but a whole number.
  std::optional<std::int64_t> whole_number(const char* key) const {
    if (!entry_.is_object() || !entry_.contains(key) || !is_whole(entry_[key])) return std::nullopt;
    return whole(entry_[key]);
  }
  std::string text(const char* key) const {
    const auto& value = at(key, "a text");
    if (!value.is_string() || value.get_ref<const std::string&>().empty())
      expected("a text", key, shown(value));
    return value.get<std::string>();
  }
  /// The corner, the width and the height.
  std::vector<float> box() const {
    const char* what = "x, y, width and height";
    const auto& value = at("bbox", what);
    bool is_box = value.is_array() && value.size() == 4;
    for (std::size_t i = 0; is_box && i < 4; ++i) is_box = value[i].is_number();
    if (!is_box) expected(what, "bbox", shown(value));
    return value.get<std::vector<float>>();
  }
  bool is_crowd() const { return optional_integer("iscrowd").value_or(0) != 0; }

  [[noreturn]] void fail(const std::string& what) const { throw Error(file_ + ": " + name() + ": " + what); }

 private:
  static bool is_whole(const nlohmann::json& value) {
    if (value.is_number_float()) return value.get<double>() == std::floor(value.get<double>());
    return value.is_number() || value.is_boolean();
  }
  // Tools write "iscrowd": false, which nlohmann's get() refuses for numbers.
  static std::int64_t whole(const nlohmann::json& value) {
    return value.is_boolean() ? std::int64_t{value.get<bool>()} : value.get<std::int64_t>();
  }
  static std::string shown(const nlohmann::json& value) {
    constexpr std::size_t kMost = 60;
    const auto text = value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    return text.size() <= kMost ? text : text.substr(0, kMost) + " ...";
  }
  const nlohmann::json& at(const char* key, const char* what) const {
    if (!entry_.is_object()) fail("expected an object, got " + shown(entry_));
    const auto value = entry_.find(key);
    if (value == entry_.end()) expected(what, key, "nothing");
    return *value;
  }
  [[noreturn]] void expected(const std::string& what, const char* key, const std::string& got) const {
    fail(std::string(key) + ": expected " + what + ", got " + got);
  }

  const std::string& file_;
  const char* list_;
  std::size_t index_;
  const nlohmann::json& entry_;
};

}  // namespace sparsify::detection
