// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>

namespace sparsify::onnx {

/// Runs the ONNX checker with full shape inference. Throws Error with the file's name and what the checker
/// says.
void check_model(const std::filesystem::path& path);

}  // namespace sparsify::onnx
