// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

namespace cli {

namespace fs = std::filesystem;

/// A new folder, removed with everything in it.
class Folder {
 public:
  Folder();
  ~Folder();
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  const fs::path& path() const { return path_; }
  fs::path operator/(const std::string& name) const { return path_ / name; }
  /// Names of all files and folders in it, relative to it.
  std::set<std::string> listing() const;

 private:
  fs::path path_;
};

struct Outcome {
  int code = -1;  ///< 128 + signal when it was killed
  std::string out, err;
};

struct RunOptions {
  std::string interrupt_after{};  ///< SIGINT as soon as this appears on stderr
  std::int64_t file_size_limit =
      0;  ///< bytes a file may have, like a disk that is full after so many; 0: no limit
};

/// Runs `sparsify` with these arguments in `folder` and waits for it.
Outcome sparsify(const fs::path& folder, const std::vector<std::string>& arguments,
                 const RunOptions& options = {});
/// Runs another program with `sparsify` on the PATH.
Outcome run(const fs::path& folder, const std::string& program, const std::vector<std::string>& arguments,
            const RunOptions& options = {});

std::string read(const fs::path& path);
nlohmann::json read_json(const fs::path& path);
void write(const fs::path& path, const std::string& text);
/// A 24-bit BMP of one colour with a diagonal.
void write_image(const fs::path& path, int side, unsigned char red, unsigned char green, unsigned char blue);
/// The bytes of every tensor of a safetensors file.
std::map<std::string, std::string> read_tensors(const fs::path& path);
/// Replaces the first bytes of one tensor in the bytes of such a file.
void overwrite_tensor(std::string& file, const std::string& name, const std::string& first_bytes);

/// A recipe that prunes and quantizes a small network on a few images; `epochs` 2 or more.
std::string small_recipe(int epochs);

}  // namespace cli
