// SPDX-License-Identifier: Apache-2.0
#include "workflow/metrics_table.hpp"

#include <cstdlib>
#include <fstream>
#include <sstream>

namespace sparsify {
namespace {

std::vector<std::string> cells(const std::string& line) {
  std::vector<std::string> parts;
  std::istringstream stream(line);
  for (std::string part; std::getline(stream, part, ',');) parts.push_back(part);
  return parts;
}

}  // namespace

std::map<std::string, std::vector<double>> read_metrics(const std::filesystem::path& path) {
  std::map<std::string, std::vector<double>> columns;
  std::ifstream file(path);
  std::string line;
  if (!std::getline(file, line)) return columns;
  const auto names = cells(line);
  while (std::getline(file, line)) {
    const auto row = cells(line);
    for (std::size_t i = 0; i < row.size() && i < names.size(); ++i) {
      char* end = nullptr;
      const double value = std::strtod(row[i].c_str(), &end);
      if (end != row[i].c_str()) columns[names[i]].push_back(value);
    }
  }
  return columns;
}

}  // namespace sparsify
