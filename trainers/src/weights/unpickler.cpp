// SPDX-License-Identifier: Apache-2.0
#include "weights/unpickler.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <unordered_map>

namespace sparsify::weights {
namespace {

// A real state dict takes about 20 a tensor; bounds the memory a hostile file can claim.
constexpr int64_t kMaxOperations = 5'000'000;

constexpr std::array kCallable = {"collections.OrderedDict",
                                  "torch._utils._rebuild_tensor",
                                  "torch._utils._rebuild_tensor_v2",
                                  "torch._utils._rebuild_parameter",
                                  "torch.jit._pickle.restore_type_tag",
                                  "torch.Size",
                                  "argparse.Namespace"};
constexpr std::array kStorageModules = {"torch.", "torch.cuda.", "torch.storage."};
constexpr std::array kStorageTypes = {"FloatStorage", "DoubleStorage", "HalfStorage",  "BFloat16Storage",
                                      "LongStorage",  "IntStorage",    "ShortStorage", "CharStorage",
                                      "ByteStorage",  "BoolStorage"};

bool is_storage_type(const std::string& name) {
  return std::any_of(kStorageModules.begin(), kStorageModules.end(), [&](const std::string prefix) {
    return std::any_of(kStorageTypes.begin(), kStorageTypes.end(),
                       [&](const char* type) { return name == prefix + type; });
  });
}

bool is_allowed(const std::string& name) {
  return std::find(kCallable.begin(), kCallable.end(), name) != kCallable.end() || is_storage_type(name);
}

class Machine {
 public:
  Machine(ByteReader& bytes, Heap& heap) : in_(bytes), heap_(heap) {}

  Value run() {
    while (++operations_ < kMaxOperations) {
      const auto code = in_.number<unsigned char>();
      if (code == '.') return pop();
      if (!scalar(code) && !text(code) && !container(code) && !memory(code) && !object(code)) {
        in_.fail("pickle operation " + std::to_string(code) + " does not occur in weight files");
      }
    }
    in_.fail("the pickle takes more than " + std::to_string(kMaxOperations) +
             " operations; no state dict does");
  }

 private:
  // These five return whether the operation is theirs; what they call returns true, for brevity here.
  bool scalar(unsigned char code) {
    switch (code) {
      case 'N':
        return push(std::monostate{});
      case 0x88:
        return push(true);
      case 0x89:
        return push(false);
      case 'J':
        return push(int64_t{in_.number<int32_t>()});
      case 'K':
        return push(int64_t{in_.number<uint8_t>()});
      case 'M':
        return push(int64_t{in_.number<uint16_t>()});
      case 'G':
        return push(std::bit_cast<double>(__builtin_bswap64(in_.number<uint64_t>())));
      case 0x8a:
        return integer(in_.take(in_.number<uint8_t>()));
      case 0x8b:
        return integer(in_.take(in_.number<uint32_t>()));
      default:
        return false;
    }
  }

  bool text(unsigned char code) {
    switch (code) {
      case 'X':
      case 'T':
      case 'B':
        return push(heap_.text(in_.take(in_.number<uint32_t>())));
      case 0x8c:
      case 'U':
      case 'C':
        return push(heap_.text(in_.take(in_.number<uint8_t>())));
      case 0x8d:
      case 0x8e:
        return push(heap_.text(in_.take(in_.number<uint64_t>())));
      default:
        return false;
    }
  }

  bool container(unsigned char code) {
    switch (code) {
      case '(':
        marks_.push_back(stack_.size());
        return true;
      case ']':
        return push(heap_.object(Kind::kList));
      case ')':
        return push(heap_.object(Kind::kTuple));
      case '}':
        return push(heap_.object(Kind::kDict));
      case 'l':
        return push(heap_.object(Kind::kList, since_mark()));
      case 't':
        return push(heap_.object(Kind::kTuple, since_mark()));
      case 0x85:
      case 0x86:
      case 0x87:
        return tuple(code - 0x84);
      case 'a':
        return append({pop()});
      case 'e':
        return append(since_mark());
      case 's':
        marks_.push_back(stack_.size() - std::min<size_t>(2, stack_.size() - floor()));
        return add_pairs(since_mark());
      case 'u':
        return add_pairs(since_mark());
      default:
        return false;
    }
  }

  bool memory(unsigned char code) {
    switch (code) {
      case 0x80:
        return protocol(in_.number<uint8_t>());
      case 0x95:  // the length of a frame: says nothing that is needed
        return in_.take(sizeof(uint64_t)).size() > 0;
      case 'q':
        return remember(in_.number<uint8_t>());
      case 'r':
        return remember(in_.number<uint32_t>());
      case 0x94:
        return remember(static_cast<uint32_t>(memo_.size()));
      case 'h':
        return recall(in_.number<uint8_t>());
      case 'j':
        return recall(in_.number<uint32_t>());
      case '0':
        pop();
        return true;
      case '2':
        return push(top());
      default:
        return false;
    }
  }

  bool object(unsigned char code) {
    switch (code) {
      case 'c': {
        const std::string module(in_.line());
        return name_class(module, std::string(in_.line()));
      }
      case 0x93: {
        const auto name = pop_text();
        return name_class(pop_text(), name);
      }
      case 'R':
      case 0x81: {
        const auto arguments = pop();
        return push(call(pop(), arguments));
      }
      case 'b': {
        const auto state = pop();
        return set_state(top(), state);
      }
      case 'Q':
        return push(storage(pop()));
      default:
        return false;
    }
  }

  bool push(Value value) {
    stack_.push_back(value);
    return true;
  }

  const Value& top() const {
    if (stack_.size() <= floor()) in_.fail("is damaged: the pickle takes a value that is not there");
    return stack_.back();
  }

  Value pop() {
    const Value value = top();
    stack_.pop_back();
    return value;
  }

  size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }

  std::vector<Value> since_mark() {
    if (marks_.empty()) in_.fail("is damaged: the pickle closes a list that it did not open");
    const auto begin = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
    std::vector<Value> values(begin, stack_.end());
    stack_.erase(begin, stack_.end());
    marks_.pop_back();
    return values;
  }

  std::string pop_text() {
    const auto value = pop();
    const auto* text = as_text(value);
    if (text == nullptr) in_.fail("is damaged: a class name is not a text");
    return *text;
  }

  bool protocol(int version) const {
    if (version >= 2 && version <= 5) return true;
    in_.fail("pickle protocol " + std::to_string(version) + "; 2 to 5 are supported");
  }

  bool integer(std::string_view bytes) {
    if (bytes.size() > sizeof(int64_t)) return push(heap_.object(Kind::kBigInteger, {heap_.text(bytes)}));
    const bool negative = !bytes.empty() && (bytes.back() & 0x80) != 0;
    int64_t value = negative ? -1 : 0;
    if (!bytes.empty()) std::memcpy(&value, bytes.data(), bytes.size());
    return push(value);
  }

  bool tuple(int size) {
    std::vector<Value> items(size);
    for (int i = size; i-- > 0;) items[i] = pop();
    return push(heap_.object(Kind::kTuple, std::move(items)));
  }

  bool append(const std::vector<Value>& values) {
    auto* list = mutable_object(top(), Kind::kList);
    if (list == nullptr) in_.fail("is damaged: the pickle appends to something that is not a list");
    list->items.insert(list->items.end(), values.begin(), values.end());
    return true;
  }

  bool add_pairs(const std::vector<Value>& pairs) {
    auto* dict = mutable_object(top(), Kind::kDict);
    if (dict == nullptr || pairs.size() % 2 != 0) {
      in_.fail("is damaged: the pickle sets items of something that is not a dict, or half an item");
    }
    dict->items.insert(dict->items.end(), pairs.begin(), pairs.end());
    return true;
  }

  bool remember(uint32_t index) {
    memo_[index] = top();
    return true;
  }

  bool recall(uint32_t index) {
    const auto found = memo_.find(index);
    if (found == memo_.end()) in_.fail("is damaged: the pickle refers to a value that it did not store");
    return push(found->second);
  }

  bool name_class(const std::string& module, const std::string& name) {
    const auto full = module + "." + name;
    if (!is_allowed(full)) {
      in_.fail("holds an object of class '" + full +
               "'; a weight file may hold only tensors, containers, numbers and strings: save the state dict "
               "alone");
    }
    return push(heap_.object(Kind::kClass, {heap_.text(full)}));
  }

  Value call(const Value& callee, const Value& arguments) {
    const auto* type = as_object(callee, Kind::kClass);
    const auto* tuple = as_object(arguments, Kind::kTuple);
    if (type == nullptr || tuple == nullptr)
      in_.fail("is damaged: the pickle calls something that is not a class");
    const auto& name = *std::get<const std::string*>(type->items[0]);
    const auto& items = tuple->items;
    if (name == "collections.OrderedDict") return ordered_dict(items);
    if (name == "argparse.Namespace" && items.empty()) return heap_.object(Kind::kDict);
    if (name == "torch.Size" && items.size() == 1) return items[0];
    if (name == "torch._utils._rebuild_parameter" && !items.empty()) return items[0];
    if (name == "torch.jit._pickle.restore_type_tag" && items.size() == 2)
      return items[0];  // C++ pickle_save
    if (name.starts_with("torch._utils._rebuild_tensor") && items.size() >= 4) {
      return heap_.object(Kind::kTensor, {items.begin(), items.begin() + 4});
    }
    in_.fail("is damaged: '" + name + "' with " + std::to_string(items.size()) + " arguments");
  }

  // Python 2 gives the pairs as an argument, Python 3 sets them as items afterwards.
  Value ordered_dict(const std::vector<Value>& arguments) {
    auto* dict = heap_.object(Kind::kDict);
    if (arguments.empty()) return dict;
    const auto* pairs = as_object(arguments[0], Kind::kList);
    if (pairs == nullptr) in_.fail("is damaged: an OrderedDict of something that is not a list");
    operations_ +=
        static_cast<int64_t>(pairs->items.size());  // copies count: the same list can be named often
    for (const auto& item : pairs->items) {
      const auto* pair = as_object(item, Kind::kList);
      if (pair == nullptr) pair = as_object(item, Kind::kTuple);
      if (pair == nullptr || pair->items.size() != 2)
        in_.fail("is damaged: an OrderedDict's item is not a pair");
      dict->items.insert(dict->items.end(), pair->items.begin(), pair->items.end());
    }
    return dict;
  }

  // State dicts carry version numbers this way; what they hold is not needed.
  bool set_state(const Value& target, const Value& state) const {
    if (as_object(target, Kind::kDict) == nullptr || as_object(state, Kind::kDict) == nullptr) {
      in_.fail("is damaged: the pickle sets the state of something that has none");
    }
    return true;
  }

  Value storage(const Value& id) {
    const auto* tuple = as_object(id, Kind::kTuple);
    const auto* tag =
        tuple && (tuple->items.size() == 5 || tuple->items.size() == 6) ? as_text(tuple->items[0]) : nullptr;
    const auto* type = tag ? as_object(tuple->items[1], Kind::kClass) : nullptr;
    if (type == nullptr || *tag != "storage" || as_text(tuple->items[2]) == nullptr) {
      in_.fail("is damaged: a reference that is not a tensor storage");
    }
    const auto& name = *std::get<const std::string*>(type->items[0]);
    if (!is_storage_type(name)) in_.fail("is damaged: '" + name + "' is not a storage");
    return heap_.object(Kind::kStorage, tuple->items);
  }

  static Object* mutable_object(const Value& value, Kind kind) {
    return const_cast<Object*>(as_object(value, kind));
  }

  ByteReader& in_;
  Heap& heap_;
  int64_t operations_ = 0;
  std::vector<Value> stack_;
  std::vector<size_t> marks_;
  std::unordered_map<uint32_t, Value> memo_;
};

}  // namespace

Value unpickle(ByteReader& bytes, Heap& heap) { return Machine(bytes, heap).run(); }

const Object* as_object(const Value& value, Kind kind) {
  const auto* object = std::get_if<Object*>(&value);
  return object != nullptr && (*object)->kind == kind ? *object : nullptr;
}

const std::string* as_text(const Value& value) {
  const auto* text = std::get_if<const std::string*>(&value);
  return text != nullptr ? *text : nullptr;
}

}  // namespace sparsify::weights
