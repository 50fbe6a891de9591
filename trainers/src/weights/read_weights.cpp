// SPDX-License-Identifier: Apache-2.0
#include "sparsify/error.hpp"
#include "sparsify/trainers/weights.hpp"
#include "weights/read_whole.hpp"
#include "weights/safetensors.hpp"
#include "weights/torch_file.hpp"

namespace sparsify {
StateDict read_weights(const std::filesystem::path& path) {
  if (!std::filesystem::is_regular_file(path)) throw Error(path.string() + ": there is no such file");
  if (path.extension() == ".safetensors") return weights::read_safetensors(path);
  return weights::read_torch_file(weights::read_whole(path), path.string());
}

}  // namespace sparsify
