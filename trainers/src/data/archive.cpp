// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <filesystem>
#include <fstream>

#include <archive.h>
#include <archive_entry.h>

#include <sparsify/error.hpp>

#include "sources.hpp"

namespace sparsify::trainers {
namespace {

namespace fs = std::filesystem;
using Reader = std::unique_ptr<struct archive, int (*)(struct archive*)>;

// Appends the current entry's data; sizes in headers are not trusted, only what really comes.
void append_content(const Reader& reader, const std::string& path, std::vector<std::byte>& bytes) {
  const void* block = nullptr;
  size_t size = 0;
  la_int64_t offset = 0;
  const size_t begin = bytes.size();
  for (;;) {
    int status = archive_read_data_block(reader.get(), &block, &size, &offset);
    if (status == ARCHIVE_EOF) return;
    if (status != ARCHIVE_OK) throw Error(path + ": broken archive: " + archive_error_string(reader.get()));
    bytes.resize(begin + static_cast<size_t>(offset));  // a sparse entry's hole reads as zeros
    const auto* data = static_cast<const std::byte*>(block);
    bytes.insert(bytes.end(), data, data + size);
  }
}

std::string tidy_path(const char* path) {
  std::string name = fs::path(path ? path : "").lexically_normal().generic_string();
  return name.starts_with("./") ? name.substr(2) : name;
}

}  // namespace

std::shared_ptr<const ArchiveFiles> read_archive(const std::string& path) {
  Reader reader(archive_read_new(), archive_read_free);
  archive_read_support_filter_all(reader.get());
  archive_read_support_format_tar(reader.get());
  archive_read_support_format_gnutar(reader.get());
  if (archive_read_open_filename(reader.get(), path.c_str(), 1 << 18) != ARCHIVE_OK)
    throw Error(path +
                ": cannot be read as a .tar or .tar.gz archive: " + archive_error_string(reader.get()));
  auto files = std::make_shared<ArchiveFiles>();
  files->name = path;
  struct archive_entry* entry = nullptr;
  for (;;) {
    int status = archive_read_next_header(reader.get(), &entry);
    if (status == ARCHIVE_EOF) break;
    if (status != ARCHIVE_OK && status != ARCHIVE_WARN)
      throw Error(path + ": broken archive: " + archive_error_string(reader.get()));
    if (archive_entry_filetype(entry) != AE_IFREG) continue;
    size_t begin = files->bytes.size();
    append_content(reader, path, files->bytes);
    files->entries.push_back({tidy_path(archive_entry_pathname(entry)), begin, files->bytes.size() - begin});
  }
  return files;
}

std::shared_ptr<const ArchiveFiles> read_cifar_folder(const std::string& path) {
  auto files = std::make_shared<ArchiveFiles>();
  files->name = path;
  for (const auto& file : fs::directory_iterator(path)) {
    auto extension = file.path().extension();
    if (!file.is_regular_file() || (extension != ".bin" && extension != ".txt")) continue;
    size_t begin = files->bytes.size();
    auto size = static_cast<size_t>(file.file_size());
    files->bytes.resize(begin + size);
    std::ifstream stream(file.path(), std::ios::binary);
    if (!stream.read(reinterpret_cast<char*>(files->bytes.data() + begin),
                     static_cast<std::streamsize>(size)))
      throw Error(file.path().string() + ": cannot be read");
    files->entries.push_back({file.path().filename().string(), begin, size});
  }
  return files;
}

}  // namespace sparsify::trainers
