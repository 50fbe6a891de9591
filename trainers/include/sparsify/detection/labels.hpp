// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "sparsify/detection/average_precision.hpp"

namespace sparsify::detection {

/// The objects of an Ultralytics label file, in pixels of an image of this size: one line "class x y width
/// height" each, the centre and the size as parts of the image's, or "class x1 y1 x2 y2 x3 y3 ...", a polygon
/// that means the box around it. A file that is not there means no objects. Throws Error naming file and
/// line: another number of numbers, a class that is not in [0, classes), values outside [0, 1], empty boxes.
std::vector<GroundTruth> read_yolo_labels(const std::filesystem::path& file, std::int64_t classes,
                                          double width, double height);

/// One name a line, as in coco.names; empty lines at the end are left out. Throws Error.
std::vector<std::string> read_names(const std::filesystem::path& file);

}  // namespace sparsify::detection
