// SPDX-License-Identifier: Apache-2.0
#include "sparsify/detection/labels.hpp"

#include <fstream>

#include "detection/label_lines.hpp"
#include "sparsify/error.hpp"

namespace sparsify::detection {

std::vector<GroundTruth> read_yolo_labels(const std::filesystem::path& file, std::int64_t classes,
                                          double width, double height) {
  std::vector<std::string> errors;
  const auto lines = read_label_lines(file, classes, width, height, errors);
  if (!errors.empty()) throw Error(errors.front());
  std::vector<GroundTruth> objects;
  for (const auto& [object, place, text] : lines) {
    if (object.x1 == object.x2 || object.y1 == object.y2)
      throw Error(place + ": the box is empty: '" + text + "'");
    objects.push_back(object);
  }
  return objects;
}

std::vector<std::string> read_names(const std::filesystem::path& file) {
  std::ifstream stream(file);
  if (!stream) throw Error(file.string() + ": cannot be read");
  std::vector<std::string> names;
  for (std::string line; std::getline(stream, line);) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    names.push_back(line);
  }
  while (!names.empty() && names.back().empty()) names.pop_back();
  if (names.empty()) throw Error(file.string() + ": holds no names");
  return names;
}

}  // namespace sparsify::detection
