// SPDX-License-Identifier: Apache-2.0
#include "detection/label_lines.hpp"

#include <cmath>
#include <fstream>
#include <sstream>

#include "sparsify/error.hpp"

namespace sparsify::detection {
namespace {

GroundTruth parse_label(const std::string& line, const std::string& place, std::int64_t classes, double width,
                        double height) {
  std::istringstream stream(line);
  double label = 0, x = 0, y = 0, w = 0, h = 0;
  std::string rest;
  if (!(stream >> label >> x >> y >> w >> h) || stream >> rest)
    throw Error(place + ": expected class, x, y, width and height, got '" + line + "'");
  if (label != std::floor(label) || label < 0 || label >= static_cast<double>(classes))
    throw Error(place + ": expected a class from 0 to " + std::to_string(classes - 1) + ", got '" + line +
                "'");
  for (const double value : {x, y, w, h})
    if (!(value >= 0 && value <= 1))
      throw Error(place + ": expected parts of the image's size, from 0 to 1, got '" + line + "'");
  return {static_cast<float>((x - w / 2) * width), static_cast<float>((y - h / 2) * height),
          static_cast<float>((x + w / 2) * width), static_cast<float>((y + h / 2) * height),
          static_cast<std::int64_t>(label)};
}

}  // namespace

std::vector<LabelLine> read_label_lines(const std::filesystem::path& file, std::int64_t classes, double width,
                                        double height, std::vector<std::string>& errors) {
  std::vector<LabelLine> lines;
  if (!std::filesystem::exists(file)) return lines;
  std::ifstream stream(file);
  if (!stream) errors.push_back(file.string() + ": cannot be read");
  int number = 0;
  for (std::string line; std::getline(stream, line);) {
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    const auto place = file.string() + ":" + std::to_string(number);
    try {
      lines.push_back({parse_label(line, place, classes, width, height), place, line});
    } catch (const Error& error) {
      errors.push_back(error.what());
    }
  }
  return lines;
}

}  // namespace sparsify::detection
