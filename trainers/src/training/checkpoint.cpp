// SPDX-License-Identifier: Apache-2.0
#include "sparsify/trainers/checkpoint.hpp"

#include <sstream>

#include "sparsify/error.hpp"
#include "sparsify/trainers/weights.hpp"

namespace sparsify {
namespace {

constexpr const char* kFormat = "sparsify.checkpoint";
constexpr const char* kVersion = "1";

void add(StateDict& all, const std::string& prefix, const StateDict& part) {
  for (const auto& [name, tensor] : part) all[prefix + name] = tensor;
}

StateDict take(const StateDict& all, const std::string& prefix) {
  StateDict part;
  for (auto it = all.lower_bound(prefix); it != all.end() && it->first.rfind(prefix, 0) == 0; ++it)
    part[it->first.substr(prefix.size())] = it->second;
  return part;
}

torch::Tensor from_bytes(const std::string& bytes) {
  auto tensor = torch::empty({static_cast<int64_t>(bytes.size())}, torch::kUInt8);
  std::copy(bytes.begin(), bytes.end(), tensor.data_ptr<uint8_t>());
  return tensor;
}

}  // namespace

void save_checkpoint(const std::filesystem::path& path, const Checkpoint& checkpoint) {
  StateDict all;
  add(all, "model.", checkpoint.model);
  add(all, "session.", checkpoint.session);
  add(all, "ema.", checkpoint.ema);
  if (!checkpoint.optimizer.empty()) all["optimizer"] = from_bytes(checkpoint.optimizer);
  if (checkpoint.generator.defined()) all["generator"] = checkpoint.generator;
  auto metadata = checkpoint.metadata;
  metadata[kFormat] = kVersion;
  write_safetensors(path, all, metadata);
}

Checkpoint load_checkpoint(const std::filesystem::path& path) {
  if (!std::filesystem::exists(path)) throw Error(path.string() + ": no such checkpoint");
  Checkpoint checkpoint;
  checkpoint.metadata = read_safetensors_metadata(path);
  const auto version = checkpoint.metadata.find(kFormat);
  if (version == checkpoint.metadata.end()) throw Error(path.string() + ": not a checkpoint of sparsify");
  if (version->second != kVersion)
    throw Error(path.string() + ": checkpoint version " + version->second + ", expected " + kVersion);
  const auto all = read_weights(path);
  checkpoint.model = take(all, "model.");
  checkpoint.session = take(all, "session.");
  checkpoint.ema = take(all, "ema.");
  if (const auto found = all.find("optimizer"); found != all.end()) {
    const auto bytes = found->second.contiguous();
    checkpoint.optimizer.assign(reinterpret_cast<const char*>(bytes.data_ptr<uint8_t>()), bytes.numel());
  }
  if (const auto found = all.find("generator"); found != all.end()) checkpoint.generator = found->second;
  return checkpoint;
}

std::string archive_bytes(const torch::optim::Optimizer& optimizer) {
  torch::serialize::OutputArchive archive;
  optimizer.save(archive);
  std::ostringstream stream;
  archive.save_to(stream);
  return stream.str();
}

void restore(torch::optim::Optimizer& optimizer, const std::string& bytes) {
  std::istringstream stream(bytes);
  torch::serialize::InputArchive archive;
  // Momentum belongs where the parameters are, wherever it was saved.
  archive.load_from(stream, optimizer.param_groups().front().params().front().device());
  optimizer.load(archive);
}

}  // namespace sparsify
