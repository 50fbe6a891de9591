// SPDX-License-Identifier: Apache-2.0
#include "json_output.hpp"

#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <system_error>

#include <nlohmann/json.hpp>

#include "sparsify/trainers/atomic_file.hpp"
#include "workflow/input_error.hpp"

namespace sparsify {

namespace fs = std::filesystem;

void check_output_path(const std::string& path, const std::string& flag) {
  if (path.empty()) return;
  std::error_code error;
  if (fs::is_directory(path, error))
    throw InputError(flag + " " + path + ": is a folder; expected the name of a file");
  const auto folder = fs::absolute(path).parent_path();
  if (!fs::is_directory(folder, error))
    throw InputError(flag + " " + path + ": the folder " + folder.string() + " does not exist");
  if (::access(folder.c_str(), W_OK | X_OK) != 0)
    throw InputError(flag + " " + path + ": cannot be written: " + std::generic_category().message(errno));
}

void make_folder(const std::string& path, const std::string& flag) {
  if (path.empty()) return;
  std::error_code error;
  fs::create_directories(path, error);
  if (error) throw InputError(flag + " " + path + ": cannot be made: " + error.message());
  if (::access(path.c_str(), W_OK | X_OK) != 0)
    throw InputError(flag + " " + path + ": cannot be written: " + std::generic_category().message(errno));
}

void write_json(const std::string& path, const nlohmann::json& results) {
  if (!path.empty()) write_file_atomically(path, results.dump(2) + "\n");
}

}  // namespace sparsify
