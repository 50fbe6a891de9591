// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace sparsify {

/// Columns of a metrics.csv by name. Empty when the file is missing; cells that are no numbers are left out.
std::map<std::string, std::vector<double>> read_metrics(const std::filesystem::path& path);

}  // namespace sparsify
