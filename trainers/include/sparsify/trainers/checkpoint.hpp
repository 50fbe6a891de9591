// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <torch/torch.h>

#include <filesystem>
#include <map>
#include <string>

#include "sparsify/state_dict.hpp"

namespace sparsify {

/// Everything needed to go on with a run, or to export from it: one safetensors file. Tensors of the model
/// are called "model.<name>", those of the session "session.<name>", of the averaged model "ema.<name>".
struct Checkpoint {
  StateDict model;
  StateDict session;
  StateDict ema;          ///< empty without EMA
  std::string optimizer;  ///< LibTorch's archive; empty in checkpoints that only serve validation and export
  torch::Tensor generator;                      ///< state of torch's CPU generator
  std::map<std::string, std::string> metadata;  ///< model, classes, epoch, recipe text ...
};

/// Writes beside the target and renames: the previous checkpoint stays until the new one is whole.
void save_checkpoint(const std::filesystem::path& path, const Checkpoint& checkpoint);

/// Throws Error when the file is missing, damaged, or not a checkpoint of ours.
Checkpoint load_checkpoint(const std::filesystem::path& path);

std::string archive_bytes(const torch::optim::Optimizer& optimizer);
void restore(torch::optim::Optimizer& optimizer, const std::string& archive);

}  // namespace sparsify
