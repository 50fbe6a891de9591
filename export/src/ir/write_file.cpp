// SPDX-License-Identifier: Apache-2.0
#include "ir/write_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "sparsify/error.hpp"

namespace sparsify::onnx {
namespace {

// The name of the last failure of the system, 0 on success.
int write_all(int descriptor, const std::string& bytes) {
  for (std::size_t done = 0; done < bytes.size();) {
    const auto written = ::write(descriptor, bytes.data() + done, bytes.size() - done);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return written < 0 ? errno : ENOSPC;
    done += static_cast<std::size_t>(written);
  }
  return ::fsync(descriptor) == 0 || errno == EINVAL ? 0 : errno;
}

}  // namespace

void write_file(const std::filesystem::path& path, const std::string& bytes) {
  const auto partial = path.string() + ".partial-" + std::to_string(::getpid());
  const auto fail = [&](int reason) {
    throw Error(path.string() + ": cannot be written: " + std::strerror(reason));
  };
  if (path.filename().empty()) fail(EISDIR);
  const int descriptor = ::open(partial.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (descriptor < 0) fail(errno);
  int reason = write_all(descriptor, bytes);
  if (::close(descriptor) != 0 && reason == 0) reason = errno;
  if (reason == 0 && ::rename(partial.c_str(), path.c_str()) != 0) reason = errno;
  if (reason == 0) return;
  ::unlink(partial.c_str());
  fail(reason);
}

}  // namespace sparsify::onnx
