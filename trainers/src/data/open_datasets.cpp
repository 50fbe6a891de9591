// SPDX-License-Identifier: Apache-2.0
#include <filesystem>

#include <sparsify/error.hpp>

#include "sources.hpp"

namespace sparsify::trainers {
namespace {

namespace fs = std::filesystem;

constexpr const char* kExpected =
    "expected 'generated', a folder or .tar.gz with train/<class>/*.jpg and val/ or test/ beside it, "
    "or the binary version of CIFAR-10/100";

Datasets open_folder(const std::string& path, const DataOptions& options) {
  fs::path root(path);
  if (fs::is_directory(root / "train") && (fs::is_directory(root / "val") || fs::is_directory(root / "test")))
    return open_image_folder(path, options);
  for (const char* inner : {"", "cifar-10-batches-bin", "cifar-100-binary"}) {
    fs::path folder = *inner ? root / inner : root;
    if (fs::exists(folder / "data_batch_1.bin") || fs::exists(folder / "train.bin"))
      return open_cifar(*read_cifar_folder(folder.string()), options);
  }
  throw Error(path + ": no data set in this folder: looked for " + (root / "train").string() +
              " with val or test " + "beside it, and for CIFAR's data_batch_1.bin or train.bin");
}

Datasets open_archive(const std::string& path, const DataOptions& options) {
  auto files = read_archive(path);
  return holds_cifar(*files) ? open_cifar(*files, options) : open_image_archive(files, options);
}

}  // namespace

Datasets open_datasets(const std::string& spec, const DataOptions& options) {
  if (spec == "generated") return open_generated("", options);
  if (spec.starts_with("generated:")) return open_generated(spec.substr(10), options);
  std::error_code ignored;
  if (fs::is_directory(spec, ignored)) return open_folder(spec, options);
  if (fs::is_regular_file(spec, ignored)) return open_archive(spec, options);
  throw Error("data set '" + spec + "': no such file or folder (looked for " +
              fs::absolute(spec.empty() ? "." : spec).string() + "); " + kExpected);
}

}  // namespace sparsify::trainers
