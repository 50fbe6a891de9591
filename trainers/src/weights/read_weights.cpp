// SPDX-License-Identifier: Apache-2.0
#include <fstream>

#include "sparsify/error.hpp"
#include "sparsify/trainers/weights.hpp"
#include "weights/safetensors.hpp"
#include "weights/torch_file.hpp"

namespace sparsify {
namespace {

std::string read_whole(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) throw Error(path.string() + ": cannot be opened");
  std::string content(static_cast<size_t>(file.tellg()), '\0');
  file.seekg(0);
  if (!file.read(content.data(), static_cast<std::streamsize>(content.size()))) {
    throw Error(path.string() + ": cannot be read");
  }
  return content;
}

}  // namespace

StateDict read_weights(const std::filesystem::path& path) {
  if (!std::filesystem::is_regular_file(path)) throw Error(path.string() + ": there is no such file");
  if (path.extension() == ".safetensors") return weights::read_safetensors(path);
  return weights::read_torch_file(read_whole(path), path.string());
}

}  // namespace sparsify
