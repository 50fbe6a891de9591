// SPDX-License-Identifier: Apache-2.0
#include "sparsify/onnx/check.hpp"

#include <onnx/checker.h>

#include "ir/proto.hpp"
#include "runtime/environment.hpp"
#include "sparsify/error.hpp"

namespace sparsify::onnx {

void check_model(const std::filesystem::path& path) {
  const auto model = read_model(path);
  prepare_schemas();
  try {
    ::onnx::checker::check_model(model, /*full_check=*/true);
  } catch (const std::exception& error) {
    throw Error(path.string() + ": " + error.what());
  }
}

}  // namespace sparsify::onnx
