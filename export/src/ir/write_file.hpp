// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>

namespace sparsify::onnx {

/// Writes beside `path` and renames, so that readers see the old file or the whole new one. Throws Error,
/// leaving nothing.
void write_file(const std::filesystem::path& path, const std::string& bytes);

}  // namespace sparsify::onnx
