// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include <nlohmann/json_fwd.hpp>

namespace sparsify {

/// Everything that a training run leaves behind, in one folder.
class RunDirectory {
 public:
  explicit RunDirectory(std::filesystem::path path) : path_(std::move(path)) {}

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path recipe() const { return path_ / "recipe.yaml"; }
  std::filesystem::path config() const { return path_ / "config.json"; }
  std::filesystem::path metrics() const { return path_ / "metrics.csv"; }
  std::filesystem::path summary() const { return path_ / "summary.json"; }
  std::filesystem::path report() const { return path_ / "report.html"; }
  std::filesystem::path data_report() const { return path_ / "data_report.txt"; }
  std::filesystem::path log() const { return path_ / "run.log"; }
  std::filesystem::path last() const { return path_ / "checkpoints" / "last.safetensors"; }
  std::filesystem::path best() const { return path_ / "checkpoints" / "best.safetensors"; }
  std::filesystem::path model(const std::string& target) const {
    return path_ / ("model." + target + ".onnx");
  }

  /// A training run was begun here.
  bool holds_run() const;

  /// Throws InputError unless a new run can be begun here: no run yet, no file in the way, `bytes_needed`
  /// free.
  void check_new(std::int64_t bytes_needed = 0) const;
  /// Throws InputError unless there is a run to go on with.
  void check_resumable() const;

  /// Keeps other processes from training here until this one ends. Throws InputError when one does.
  void lock();
  /// Makes the folder with recipe and settings, and locks it. Throws Error, leaving nothing, when that fails.
  void begin(const std::string& recipe_text, const nlohmann::json& config);
  /// Removes what `begin` and a run that failed before its first checkpoint have left; nothing of anybody
  /// else's.
  void discard();

  nlohmann::json read_config() const;

 private:
  std::filesystem::path path_;
  std::shared_ptr<const int> lock_;  ///< a file descriptor
  std::filesystem::path made_;       ///< the outermost folder that begin() made; empty: it existed
};

/// runs/<name>, or runs/<name>-2 and so on when that is taken.
std::filesystem::path free_run_path(const std::string& name);

/// Reads a JSON object; throws InputError saying what is wrong.
nlohmann::json read_json(const std::filesystem::path& path);

}  // namespace sparsify
