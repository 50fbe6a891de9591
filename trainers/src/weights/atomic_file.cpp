// SPDX-License-Identifier: Apache-2.0
#include "sparsify/trainers/atomic_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <string>
#include <system_error>

#include "sparsify/error.hpp"

namespace sparsify {
namespace {

std::filesystem::path partial_name(std::filesystem::path target) {
  static std::atomic<int> counter{0};
  target += ".partial-" + std::to_string(::getpid()) + "-" + std::to_string(counter++);
  return target;
}

}  // namespace

AtomicFile::AtomicFile(std::filesystem::path target)
    : target_(std::move(target)), partial_(partial_name(target_)) {
  const int descriptor = ::open(partial_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (descriptor < 0) fail("cannot be created");
  file_ = ::fdopen(descriptor, "wb");
  if (file_ == nullptr) {
    ::close(descriptor);
    ::unlink(partial_.c_str());
    fail("cannot be opened");
  }
}

AtomicFile::~AtomicFile() {
  if (file_ == nullptr) return;
  std::fclose(file_);
  ::unlink(partial_.c_str());
}

void AtomicFile::write(const void* data, size_t bytes) {
  if (file_ == nullptr) throw Error(target_.string() + ": written to after it was committed");
  if (bytes > 0 && std::fwrite(data, 1, bytes, file_) != bytes) fail("cannot be written");
}

void AtomicFile::commit() {
  if (file_ == nullptr) throw Error(target_.string() + ": committed twice");
  if (std::fflush(file_) != 0 || ::fsync(::fileno(file_)) != 0) fail("cannot be written");
  if (::rename(partial_.c_str(), target_.c_str()) != 0) fail("cannot be replaced");
  std::fclose(file_);
  file_ = nullptr;
}

void AtomicFile::fail(const char* action) const {
  throw Error(target_.string() + ": " + action + ": " + std::generic_category().message(errno));
}

void write_file_atomically(const std::filesystem::path& target, std::string_view text) {
  AtomicFile file(target);
  file.write(text);
  file.commit();
}

}  // namespace sparsify
