// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "sparsify/detection/average_precision.hpp"

namespace sparsify::detection {

/// An object and where it is written.
struct LabelLine {
  GroundTruth object{};
  std::string place;  ///< "file:line"
  std::string text;
};

/// The lines of an Ultralytics label file, those of empty boxes and of boxes that reach outside too; every
/// line that cannot be used becomes an error. See read_yolo_labels.
std::vector<LabelLine> read_label_lines(const std::filesystem::path& file, std::int64_t classes, double width,
                                        double height, std::vector<std::string>& errors);

}  // namespace sparsify::detection
