// SPDX-License-Identifier: Apache-2.0
// Format: https://github.com/huggingface/safetensors#format: the header's size (8 bytes), the header in JSON
// (type, shape and place of every tensor), then the tensors without gaps.
#include "weights/safetensors.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <fstream>
#include <nlohmann/json.hpp>

#include "sparsify/error.hpp"
#include "sparsify/trainers/atomic_file.hpp"
#include "sparsify/trainers/weights.hpp"

static_assert(std::endian::native == std::endian::little, "weight files are read and written as they lie");

namespace sparsify {
namespace {

constexpr uint64_t kMaxHeader = 100'000'000;  // the format's own limit
constexpr const char* kMetadataKey = "__metadata__";

struct TypeName {
  const char* name;
  at::ScalarType type;
};
constexpr std::array kTypes = {TypeName{"F32", at::kFloat},
                               TypeName{"F64", at::kDouble},
                               TypeName{"F16", at::kHalf},
                               TypeName{"BF16", at::kBFloat16},
                               TypeName{"I64", at::kLong},
                               TypeName{"I32", at::kInt},
                               TypeName{"I16", at::kShort},
                               TypeName{"I8", at::kChar},
                               TypeName{"U8", at::kByte},
                               TypeName{"BOOL", at::kBool},
                               TypeName{"F8_E4M3", at::kFloat8_e4m3fn},
                               TypeName{"F8_E5M2", at::kFloat8_e5m2}};

struct Header {
  nlohmann::json entries;
  uint64_t data_begin;
  uint64_t data_size;
};

struct TensorEntry {
  std::string name;
  at::ScalarType type;
  std::vector<int64_t> shape;
  uint64_t begin, end;
};

[[noreturn]] void fail(const std::filesystem::path& path, const std::string& message) {
  throw Error(path.string() + ": " + message);
}

Header read_header(std::ifstream& file, const std::filesystem::path& path) {
  const uint64_t file_size = std::filesystem::file_size(path);
  uint64_t size = 0;
  if (!file.read(reinterpret_cast<char*>(&size), sizeof(size)))
    fail(path, "is too short for a safetensors file");
  if (size > kMaxHeader || size > file_size - sizeof(size)) {
    fail(path, "is not a safetensors file or is damaged: a header of " + std::to_string(size) +
                   " bytes in a file of " + std::to_string(file_size));
  }
  std::string text(size, '\0');
  if (!file.read(text.data(), static_cast<std::streamsize>(size))) fail(path, "cannot be read");
  auto entries = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!entries.is_object())
    fail(path, "is not a safetensors file or is damaged: its header is not a JSON object");
  const uint64_t begin = sizeof(size) + size;
  return {std::move(entries), begin, file_size - begin};
}

at::ScalarType parse_type(const nlohmann::json& name, const std::string& entry,
                          const std::filesystem::path& path) {
  const auto found =
      std::find_if(kTypes.begin(), kTypes.end(), [&](const TypeName& known) { return name == known.name; });
  if (found == kTypes.end())
    fail(path, "'" + entry + "' has type " + name.dump() + ", which is not supported");
  return found->type;
}

uint64_t byte_count(const std::vector<int64_t>& shape, at::ScalarType type, const std::string& entry,
                    const std::filesystem::path& path) {
  uint64_t bytes = at::elementSize(type);
  for (const auto size : shape) {
    if (__builtin_mul_overflow(bytes, static_cast<uint64_t>(size), &bytes)) {
      fail(path, "'" + entry + "' has a shape beyond all bounds");
    }
  }
  return bytes;
}

TensorEntry parse_entry(const std::string& name, const nlohmann::json& value,
                        const std::filesystem::path& path) {
  const auto is_size = [](const nlohmann::json& number) {
    return number.is_number_unsigned() && number.get<uint64_t>() < (uint64_t{1} << 48);
  };
  const auto is_sizes = [&](const char* key) {
    return value.contains(key) && value[key].is_array() && value[key].size() <= 64 &&
           std::all_of(value[key].begin(), value[key].end(), is_size);
  };
  if (!value.is_object() || !value.contains("dtype") || !is_sizes("shape") || !is_sizes("data_offsets") ||
      value["data_offsets"].size() != 2) {
    fail(path, "'" + name + "' is damaged: expected dtype, shape and two data_offsets");
  }
  const auto type = parse_type(value["dtype"], name, path);
  TensorEntry entry{name, type, value["shape"].get<std::vector<int64_t>>(), value["data_offsets"][0],
                    value["data_offsets"][1]};
  if (entry.end < entry.begin || entry.end - entry.begin != byte_count(entry.shape, type, name, path)) {
    fail(path, "'" + name + "' is damaged: its shape and its number of bytes differ");
  }
  return entry;
}

// In the order of the data, which has to be covered without gap or overlap.
std::vector<TensorEntry> parse_entries(const Header& header, const std::filesystem::path& path) {
  std::vector<TensorEntry> entries;
  for (const auto& [name, value] : header.entries.items()) {
    if (name != kMetadataKey) entries.push_back(parse_entry(name, value, path));
  }
  std::sort(entries.begin(), entries.end(), [](const TensorEntry& a, const TensorEntry& b) {
    return std::tie(a.begin, a.end) < std::tie(b.begin, b.end);
  });
  uint64_t position = 0;
  for (const auto& entry : entries) {
    if (entry.begin != position)
      fail(path, "'" + entry.name + "' is damaged: its data overlaps or leaves a gap");
    position = entry.end;
  }
  if (position != header.data_size) {
    fail(path, "is cut off or damaged: " + std::to_string(position) + " bytes of tensors announced, " +
                   std::to_string(header.data_size) + " there");
  }
  return entries;
}

const char* type_name(at::ScalarType type, const std::string& entry, const std::filesystem::path& path) {
  for (const auto& known : kTypes) {
    if (known.type == type) return known.name;
  }
  fail(path, "'" + entry + "' has type " + c10::toString(type) + ", which safetensors files cannot hold");
}

// Wide types first, so that every tensor is aligned to its elements.
std::vector<std::string> storage_order(const StateDict& tensors) {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : tensors) names.push_back(name);
  std::stable_sort(names.begin(), names.end(), [&](const auto& a, const auto& b) {
    return tensors.at(a).element_size() > tensors.at(b).element_size();
  });
  return names;
}

std::string make_header(const std::vector<std::string>& order, const StateDict& tensors,
                        const Metadata& metadata, const std::filesystem::path& path) {
  auto header = nlohmann::json::object();
  if (!metadata.empty()) header[kMetadataKey] = metadata;
  uint64_t position = 0;
  for (const auto& name : order) {
    const auto& tensor = tensors.at(name);
    if (name == kMetadataKey) fail(path, "a tensor may not be called '__metadata__'");
    const uint64_t end = position + tensor.nbytes();
    header[name] = {{"dtype", type_name(tensor.scalar_type(), name, path)},
                    {"shape", tensor.sizes().vec()},
                    {"data_offsets", {position, end}}};
    position = end;
  }
  auto text = header.dump(-1, ' ', /*ensure_ascii=*/false, nlohmann::json::error_handler_t::replace);
  text.resize((text.size() + 7) / 8 * 8, ' ');
  return text;
}

}  // namespace

StateDict weights::read_safetensors(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) fail(path, "cannot be opened");
  const auto header = read_header(file, path);
  StateDict tensors;
  for (const auto& entry : parse_entries(header, path)) {
    auto tensor = at::empty(entry.shape, entry.type);
    file.seekg(static_cast<std::streamoff>(header.data_begin + entry.begin));
    if (!file.read(static_cast<char*>(tensor.data_ptr()), static_cast<std::streamsize>(tensor.nbytes()))) {
      fail(path, "'" + entry.name + "' cannot be read");
    }
    tensors[entry.name] = tensor;
  }
  return tensors;
}

Metadata read_safetensors_metadata(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) fail(path, "cannot be opened");
  const auto header = read_header(file, path);
  Metadata metadata;
  if (!header.entries.contains(kMetadataKey)) return metadata;
  for (const auto& [key, value] : header.entries[kMetadataKey].items()) {
    if (!value.is_string()) fail(path, "metadata '" + key + "' is not a text");
    metadata[key] = value.get<std::string>();
  }
  return metadata;
}

void write_safetensors(const std::filesystem::path& path, const StateDict& tensors,
                       const Metadata& metadata) {
  const auto order = storage_order(tensors);
  const auto header = make_header(order, tensors, metadata, path);
  const uint64_t size = header.size();
  AtomicFile file(path);
  file.write(&size, sizeof(size));
  file.write(header);
  for (const auto& name : order) {
    const auto tensor = tensors.at(name).detach().cpu().contiguous();
    file.write(tensor.data_ptr(), tensor.nbytes());
  }
  file.commit();
}

}  // namespace sparsify
