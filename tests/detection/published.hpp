// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <torch/torch.h>

#include <catch2/catch_test_macros.hpp>
#include <cstdlib>
#include <filesystem>

namespace detection_test {

/// A set of real data; the case is skipped where it is not.
inline std::filesystem::path data_folder(const char* name) {
  const char* data = std::getenv("SPARSIFY_DATA");
  if (!data || !std::filesystem::is_directory(std::filesystem::path(data) / name))
    SKIP("needs " << name << " in the folder that SPARSIFY_DATA names");
  return std::filesystem::path(data) / name;
}

}  // namespace detection_test
