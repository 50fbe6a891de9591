// SPDX-License-Identifier: Apache-2.0
#include "weights/zip_records.hpp"

#include <ATen/ops/empty.h>
#include <archive.h>
#include <archive_entry.h>

#include <memory>

#include "sparsify/error.hpp"

namespace sparsify::weights {
namespace {

using Archive = std::unique_ptr<archive, decltype(&archive_read_free)>;

[[noreturn]] void fail(const Archive& zip, const std::string& name) {
  const char* reason = archive_error_string(zip.get());
  throw Error(name + ": is cut off or damaged: " + (reason != nullptr ? reason : "not a zip archive"));
}

at::Tensor read_entry(const Archive& zip, int64_t size, const std::string& name) {
  auto bytes = at::empty({size}, at::kByte);
  auto* data = bytes.data_ptr<uint8_t>();
  for (int64_t done = 0; done < size;) {
    const auto count = archive_read_data(zip.get(), data + done, static_cast<size_t>(size - done));
    if (count <= 0) fail(zip, name);
    done += count;
  }
  // One byte more than announced makes the library check the sum at the entry's end.
  uint8_t surplus;
  if (archive_read_data(zip.get(), &surplus, 1) != 0) fail(zip, name);
  return bytes;
}

}  // namespace

Records read_zip(std::string_view bytes, const std::string& name) {
  const Archive zip(archive_read_new(), &archive_read_free);
  // The reader that needs the directory at the end: a file that was cut off must not pass.
  archive_read_support_format_zip_seekable(zip.get());
  if (archive_read_open_memory(zip.get(), bytes.data(), bytes.size()) != ARCHIVE_OK) fail(zip, name);

  Records records;
  auto allowance = static_cast<int64_t>(bytes.size());
  archive_entry* entry = nullptr;
  int status;
  while ((status = archive_read_next_header(zip.get(), &entry)) == ARCHIVE_OK) {
    const char* path = archive_entry_pathname(entry);
    const int64_t size = archive_entry_size(entry);
    if (path == nullptr || size < 0 || size > allowance) {
      throw Error(name + ": is damaged or compressed: its parts are larger than the file");
    }
    allowance -= size;
    const std::string key = path;  // the library's copy ends with the next call
    records[key] = read_entry(zip, size, name);
  }
  if (status != ARCHIVE_EOF) fail(zip, name);
  return records;
}

}  // namespace sparsify::weights
