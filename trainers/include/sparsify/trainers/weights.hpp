// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "sparsify/state_dict.hpp"

namespace sparsify {

using Metadata = std::map<std::string, std::string>;

/// Parameters and buffers of a module by full name, detached but sharing the module's memory.
StateDict state_dict(const torch::nn::Module& module);

/// Reads the tensors of a `.safetensors` file or of a PyTorch state dict (`.pt`, `.pth`, `.th`; zip and the
/// older format). Which PyTorch format it is, the content tells.
///
/// Of a checkpoint the dict under "state_dict_ema", "model_ema", "state_dict" or "model" is taken, in this
/// order, and the prefix "module." is removed where every name has it. Nothing in the file is executed: a
/// pickle may hold tensors, containers, numbers and strings only. Throws Error, which says where and what,
/// for anything else and for damaged files; what is allocated never exceeds a small multiple of the file's
/// size.
StateDict read_weights(const std::filesystem::path& path);

/// The text entries under "__metadata__" of a safetensors file; empty where it has none.
Metadata read_safetensors_metadata(const std::filesystem::path& path);

/// Writes a safetensors file, beside the target first and renamed when complete: after an Error (disk full,
/// say) the target is what it was before and nothing else is left. Tensors may have any device, layout and
/// strides.
void write_safetensors(const std::filesystem::path& path, const StateDict& tensors,
                       const Metadata& metadata = {});

struct LoadOptions {
  /// For transfer learning: the last layer keeps its own weights where the file's are missing or have other
  /// shapes.
  bool allow_new_classifier = false;
};

struct LoadReport {
  int64_t loaded = 0;                   ///< Entries that were copied.
  std::vector<std::string> not_loaded;  ///< Entries that kept their values: new classifier, batch counters.
};

/// Copies tensors into the module's parameters and buffers of the same names, converting floating-point
/// types.
///
/// Throws Error, before anything is touched, if entries are missing, unexpected, of another shape, or integer
/// where the module's is floating point; the message gives counts and the first five of each. Batch norm's
/// `num_batches_tracked` may be missing, as it is in files of PyTorch before 0.4.1.
LoadReport load_weights(torch::nn::Module& module, const StateDict& weights, const LoadOptions& options = {});

}  // namespace sparsify
