// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <string_view>

namespace sparsify {

/// Writes a file beside its target and renames it on `commit`; without a commit the target stays as it was
/// and nothing is left behind. Every failure is an Error that names the file and the system's reason.
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path target);
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  ~AtomicFile();

  void write(const void* data, size_t bytes);
  void write(std::string_view text) { write(text.data(), text.size()); }
  /// Flushes to the disk and renames.
  void commit();

 private:
  [[noreturn]] void fail(const char* action) const;

  std::filesystem::path target_;
  std::filesystem::path partial_;
  std::FILE* file_ = nullptr;
};

/// Replaces the content of a file by `text` in one step.
void write_file_atomically(const std::filesystem::path& target, std::string_view text);

}  // namespace sparsify
