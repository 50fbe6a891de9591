// SPDX-License-Identifier: Apache-2.0
#include "weights/read_whole.hpp"

#include <fstream>

#include "sparsify/error.hpp"

namespace sparsify::weights {

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

}  // namespace sparsify::weights
