// SPDX-License-Identifier: Apache-2.0
#include "weights/torch_file.hpp"

#include <torch/torch.h>

#include <array>
#include <bit>
#include <set>

#include "weights/unpickler.hpp"
#include "weights/zip_records.hpp"

static_assert(std::endian::native == std::endian::little, "weight files are read as they lie");

namespace sparsify::weights {
namespace {

// Marks the older format, the first of its five pickles.
constexpr std::string_view kMagic = "\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";
constexpr int64_t kLegacyProtocol = 1001;

at::ScalarType element_type(const Object& storage) {
  static const std::map<std::string, at::ScalarType> types = {
      {"FloatStorage", at::kFloat},       {"DoubleStorage", at::kDouble}, {"HalfStorage", at::kHalf},
      {"BFloat16Storage", at::kBFloat16}, {"LongStorage", at::kLong},     {"IntStorage", at::kInt},
      {"ShortStorage", at::kShort},       {"CharStorage", at::kChar},     {"ByteStorage", at::kByte},
      {"BoolStorage", at::kBool}};
  const auto& name = *as_text(as_object(storage.items[1], Kind::kClass)->items[0]);
  return types.at(name.substr(name.rfind('.') + 1));
}

const std::string& storage_key(const Object& storage) { return *as_text(storage.items[2]); }

/// Turns the descriptions in a pickle into tensors on the bytes of their storages.
class TensorBuilder {
 public:
  TensorBuilder(Records storages, std::string name)
      : storages_(std::move(storages)), name_(std::move(name)) {}

  at::Tensor build(const Object& tensor, const std::string& entry) const {
    const auto* storage = as_object(tensor.items[0], Kind::kStorage);
    const auto* offset = std::get_if<int64_t>(&tensor.items[1]);
    if (storage == nullptr || offset == nullptr) fail(entry, "is damaged: a tensor without storage");
    const auto sizes = extents(tensor.items[2], entry);
    const auto strides = extents(tensor.items[3], entry);
    const auto elements = typed(*storage, entry);
    require_inside(sizes, strides, *offset, elements.numel(), entry);
    return elements.as_strided(sizes, strides, *offset);
  }

 private:
  [[noreturn]] void fail(const std::string& entry, const std::string& message) const {
    throw Error(name_ + ": '" + entry + "' " + message);
  }

  std::vector<int64_t> extents(const Value& value, const std::string& entry) const {
    const auto* tuple = as_object(value, Kind::kTuple);
    if (tuple == nullptr || tuple->items.size() > 64)
      fail(entry, "is damaged: its shape is not a list of numbers");
    std::vector<int64_t> numbers;
    for (const auto& item : tuple->items) {
      const auto* number = std::get_if<int64_t>(&item);
      if (number == nullptr || *number < 0)
        fail(entry, "is damaged: a size or stride that is not a whole number");
      numbers.push_back(*number);
    }
    return numbers;
  }

  at::Tensor typed(const Object& storage, const std::string& entry) const {
    const auto found = storages_.find(storage_key(storage));
    if (found == storages_.end())
      fail(entry, "has no data: storage '" + storage_key(storage) + "' is missing");
    const auto type = element_type(storage);
    const auto width = static_cast<int64_t>(at::elementSize(type));
    if (found->second.numel() % width != 0)
      fail(entry, "is damaged: half an element at the end of its storage");
    return found->second.view(type);
  }

  // Also keeps expanded tensors out, whose copies could take any amount of memory.
  void require_inside(const std::vector<int64_t>& sizes, const std::vector<int64_t>& strides, int64_t offset,
                      int64_t available, const std::string& entry) const {
    int64_t elements = 1, last = offset;
    bool fits = sizes.size() == strides.size() && offset >= 0;
    for (size_t i = 0; fits && i < sizes.size(); ++i) {
      int64_t step = 0;
      fits = !__builtin_mul_overflow(elements, sizes[i], &elements) &&
             (sizes[i] == 0 || !__builtin_mul_overflow(sizes[i] - 1, strides[i], &step)) &&
             !__builtin_add_overflow(last, step, &last);
    }
    if (!fits || elements > available || (elements > 0 && last >= available) || offset > available) {
      fail(entry,
           "is damaged: its shape asks for more than the " + std::to_string(available) + " elements stored");
    }
  }

  Records storages_;
  std::string name_;
};

const Object* nested(const Object& dict, std::string_view wanted) {
  for (size_t i = 0; i + 1 < dict.items.size(); i += 2) {
    const auto* key = as_text(dict.items[i]);
    if (key != nullptr && *key == wanted) return as_object(dict.items[i + 1], Kind::kDict);
  }
  return nullptr;
}

const Object& unwrapped(const Object& checkpoint) {
  for (const char* key : {"state_dict_ema", "model_ema", "state_dict", "model"}) {
    if (const auto* inner = nested(checkpoint, key)) return *inner;
  }
  return checkpoint;
}

StateDict collect(const Value& root, const TensorBuilder& builder, const std::string& name) {
  const auto* checkpoint = as_object(root, Kind::kDict);
  if (checkpoint == nullptr) throw Error(name + ": holds no dict of tensors by name, but something else");
  const auto& dict = unwrapped(*checkpoint);
  StateDict tensors;
  for (size_t i = 0; i + 1 < dict.items.size(); i += 2) {
    const auto* key = as_text(dict.items[i]);
    const auto* tensor = as_object(dict.items[i + 1], Kind::kTensor);
    if (key == nullptr || tensor == nullptr) {
      throw Error(name + ": '" + (key != nullptr ? *key : "?") +
                  "' is not a tensor; expected a state dict, by itself " +
                  "or under 'state_dict' or 'model'");
    }
    tensors[*key] = builder.build(*tensor, *key);
  }
  return tensors;
}

StateDict read_zip_format(std::string_view content, const std::string& name) {
  auto records = read_zip(content, name);
  std::string folder, pickle;
  Records storages;
  for (const auto& [path, bytes] : records) {
    if (!path.ends_with("/data.pkl")) continue;
    folder = path.substr(0, path.size() - std::string_view("data.pkl").size());
    pickle.assign(reinterpret_cast<const char*>(bytes.data_ptr<uint8_t>()), bytes.numel());
  }
  if (folder.empty()) throw Error(name + ": is a zip archive without data.pkl; expected a PyTorch file");
  const auto order = records.find(folder + "byteorder");
  if (order != records.end() && order->second.numel() == 3)
    throw Error(name + ": is big-endian; not supported");
  for (const auto& [path, bytes] : records) {
    if (path.starts_with(folder + "data/")) storages[path.substr(folder.size() + 5)] = bytes;
  }
  ByteReader in(pickle, name + " (data.pkl)");
  Heap heap;
  const auto root = unpickle(in, heap);
  return collect(root, {std::move(storages), name}, name);
}

// After the pickles: for each storage of the list the number of its elements, then the elements.
Records read_legacy_storages(ByteReader& in, const Object& keys, const Heap& heap) {
  std::map<std::string, at::ScalarType> types;
  for (const auto& object : heap.objects()) {
    if (object.kind != Kind::kStorage) continue;
    if (object.items.size() > 5 && !std::holds_alternative<std::monostate>(object.items[5])) {
      in.fail("views of storages (PyTorch before 0.4) are not supported");
    }
    types[storage_key(object)] = element_type(object);
  }
  Records storages;
  for (const auto& item : keys.items) {
    const auto* key = as_text(item);
    if (key == nullptr || types.count(*key) == 0 || storages.count(*key) != 0) {
      in.fail("is damaged: the list of storages does not fit the tensors");
    }
    const auto width = at::elementSize(types[*key]);
    const auto elements = in.number<uint64_t>();
    if (elements > in.remaining() / width)
      in.fail("is cut off or damaged: a storage is larger than the file");
    const auto bytes = in.take(elements * width);
    storages[*key] = at::empty({static_cast<int64_t>(bytes.size())}, at::kByte);
    std::memcpy(storages[*key].data_ptr(), bytes.data(), bytes.size());
  }
  return storages;
}

StateDict read_legacy_format(std::string_view content, const std::string& name) {
  ByteReader in(content, name);
  Heap heap;
  const auto magic = unpickle(in, heap);
  const auto* number = as_object(magic, Kind::kBigInteger);
  if (number == nullptr || *as_text(number->items[0]) != kMagic)
    in.fail("is a pickle, but not one of PyTorch's");
  const auto protocol = unpickle(in, heap);
  if (protocol != Value{kLegacyProtocol}) in.fail("has a format version other than 1001, the only one known");
  unpickle(in, heap);  // sizes of C types on the writer's machine
  const auto root = unpickle(in, heap);
  const auto keys = unpickle(in, heap);
  const auto* list = as_object(keys, Kind::kList);
  if (list == nullptr) in.fail("is damaged: the list of storages is missing");
  TensorBuilder builder(read_legacy_storages(in, *list, heap), name);
  if (in.remaining() > 0) in.fail("goes on for " + std::to_string(in.remaining()) + " bytes after its end");
  return collect(root, builder, name);
}

StateDict without_wrapper_prefix(const StateDict& tensors) {
  constexpr std::string_view kPrefix = "module.";
  StateDict stripped;
  for (const auto& [name, tensor] : tensors) {
    if (!name.starts_with(kPrefix)) return tensors;
    stripped[name.substr(kPrefix.size())] = tensor;
  }
  return stripped;
}

}  // namespace

StateDict read_torch_file(std::string_view content, const std::string& name) {
  if (content.starts_with("PK")) return without_wrapper_prefix(read_zip_format(content, name));
  if (content.starts_with('\x80')) return without_wrapper_prefix(read_legacy_format(content, name));
  throw Error(name + ": is neither a PyTorch file (zip or pickle) nor named .safetensors");
}

}  // namespace sparsify::weights
