// SPDX-License-Identifier: Apache-2.0
#include "workflow/run_directory.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>

#include <nlohmann/json.hpp>

#include "sparsify/trainers/atomic_file.hpp"
#include "workflow/input_error.hpp"

namespace sparsify {
namespace {

namespace fs = std::filesystem;

/// The nearest folder above (or at) `path` that exists.
fs::path existing_part(fs::path path) {
  std::error_code ignored;
  path = fs::absolute(path, ignored);
  while (!fs::exists(path, ignored) && path.has_relative_path()) path = path.parent_path();
  return path;
}

/// The outermost folder that has to be made for `path` to exist; empty when it does.
fs::path first_missing(const fs::path& path) {
  std::error_code ignored;
  fs::path missing;
  for (auto part = fs::absolute(path); !fs::exists(part, ignored) && part.has_relative_path();
       part = part.parent_path())
    if (part.has_filename()) missing = part;
  return missing;
}

void check_writable(const fs::path& run, const fs::path& folder) {
  if (::access(folder.c_str(), W_OK | X_OK) != 0)
    throw InputError(run.string() + ": cannot be written: " + std::generic_category().message(errno) +
                     " in " + folder.string());
}

std::string megabytes(std::uintmax_t bytes) { return std::to_string((bytes + (1 << 20) - 1) >> 20) + " MB"; }

}  // namespace

bool RunDirectory::holds_run() const {
  std::error_code ignored;
  return fs::exists(config(), ignored) || fs::exists(last(), ignored) || fs::exists(summary(), ignored);
}

void RunDirectory::check_new(std::int64_t bytes_needed) const {
  if (holds_run())
    throw InputError(path_.string() +
                     ": holds a run already; go on with it by 'sparsify train --resume --output " +
                     path_.string() + "', or give another --output");
  std::error_code error;
  for (const auto& file : {recipe(), metrics(), report(), data_report(), log(), best()})
    if (fs::exists(file, error))
      throw InputError(path_.string() + ": holds a " + file.filename().string() +
                       " that a run would overwrite; give another --output, or move it away");
  const auto folder = existing_part(path_);
  if (!fs::is_directory(folder, error))
    throw InputError(path_.string() + ": cannot be made: " + folder.string() + " is not a folder");
  check_writable(path_, folder);
  const auto space = fs::space(folder, error);
  if (!error && space.available < static_cast<std::uintmax_t>(bytes_needed))
    throw InputError(path_.string() + ": the disk has " + megabytes(space.available) +
                     " left, the run needs about " + megabytes(static_cast<std::uintmax_t>(bytes_needed)));
}

void RunDirectory::check_resumable() const {
  std::error_code ignored;
  if (!fs::is_directory(path_, ignored))
    throw InputError(path_.string() + ": no such run directory to resume");
  if (!fs::exists(config(), ignored) || !fs::exists(recipe(), ignored))
    throw InputError(path_.string() + ": not a run directory: config.json or recipe.yaml is missing");
  for (const auto& folder : {path_, path_ / "checkpoints"})
    if (fs::exists(folder, ignored)) check_writable(path_, folder);
}

void RunDirectory::lock() {
  const int folder = ::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return;  // what needs the folder says why it cannot be opened
  lock_ = std::shared_ptr<const int>(new int(folder), [](const int* descriptor) {
    ::close(*descriptor);
    delete descriptor;
  });
  // File systems without locks are not an error.
  if (::flock(folder, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
    throw InputError(path_.string() +
                     ": another process trains here; give another --output, or wait until it ends");
}

void RunDirectory::begin(const std::string& recipe_text, const nlohmann::json& config_entries) {
  made_ = first_missing(path_);
  try {
    fs::create_directories(path_);
    lock();
    check_new();  // nobody has begun meanwhile
    fs::create_directories(path_ / "checkpoints");
    write_file_atomically(recipe(), recipe_text);
    write_file_atomically(config(), config_entries.dump(2) + "\n");
  } catch (const fs::filesystem_error& error) {
    discard();
    throw InputError(path_.string() + ": the run directory cannot be made: " + error.code().message());
  } catch (const InputError&) {
    throw;
  } catch (const Error&) {
    discard();
    throw;
  }
}

void RunDirectory::discard() {
  std::error_code ignored;
  if (fs::exists(last(), ignored) || fs::exists(best(), ignored)) return;
  for (const auto& file : {recipe(), config(), metrics(), data_report(), log()}) fs::remove(file, ignored);
  fs::remove(path_ / "checkpoints", ignored);
  if (made_.empty()) return;
  // Folders are removed only while empty, from the inside out.
  for (auto folder = fs::absolute(path_); fs::remove(folder, ignored) && folder != made_;)
    folder = folder.parent_path();
}

nlohmann::json RunDirectory::read_config() const { return read_json(config()); }

fs::path free_run_path(const std::string& name) {
  const fs::path base = fs::path("runs") / name;
  auto path = base;
  std::error_code ignored;
  for (int i = 2; fs::exists(path, ignored); ++i) path = base.string() + "-" + std::to_string(i);
  return path;
}

nlohmann::json read_json(const fs::path& path) {
  std::ifstream file(path);
  if (!file) throw InputError(path.string() + ": cannot be read");
  auto parsed = nlohmann::json::parse(file, nullptr, /*allow_exceptions=*/false);
  if (!parsed.is_object()) throw InputError(path.string() + ": not a JSON object; is the file damaged?");
  return parsed;
}

}  // namespace sparsify
