// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <variant>
#include <vector>

#include "weights/byte_reader.hpp"

namespace sparsify::weights {

struct Object;
using Value = std::variant<std::monostate, bool, int64_t, double, const std::string*, Object*>;

enum class Kind { kList, kTuple, kDict, kClass, kStorage, kTensor, kBigInteger };

/// What a pickle holds, as inert data; nothing is ever called.
struct Object {
  Kind kind;
  /// Dict: keys and values in turn. Class: its name. Storage: its persistent id. Tensor: the arguments of
  /// _rebuild_tensor: storage, offset, sizes, strides. Big integer: its bytes.
  std::vector<Value> items;
};

/// Owns what pickles refer to, flat: values point into it, so that no nesting or cycle can hurt.
class Heap {
 public:
  const std::string* text(std::string_view characters) { return &texts_.emplace_back(characters); }
  Object* object(Kind kind, std::vector<Value> items = {}) {
    return &objects_.emplace_back(Object{kind, std::move(items)});
  }
  const std::deque<Object>& objects() const { return objects_; }

 private:
  std::deque<std::string> texts_;
  std::deque<Object> objects_;
};

/// Reads one pickle (protocols 2 to 5) up to its end. Allowed are containers, numbers, strings, tensors and
/// storages; throws Error for anything else, naming the class.
Value unpickle(ByteReader& bytes, Heap& heap);

/// The object of this kind in `value`, or null.
const Object* as_object(const Value& value, Kind kind);
/// The text in `value`, or null.
const std::string* as_text(const Value& value);

}  // namespace sparsify::weights
