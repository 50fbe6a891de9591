// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>

#include "sparsify/detection/dataset.hpp"
#include "workflow/runnable_detector.hpp"

namespace sparsify {

/// Draws the first images of a set in two grids, with the objects that are labelled and with those that the
/// detector finds (scores of 0.25 and more), into two files. Throws Error when one cannot be
/// written.
void write_detection_pictures(const detection::DetectionDataset& images, const RunnableDetector& detector,
                              const std::filesystem::path& labels, const std::filesystem::path& predictions);

}  // namespace sparsify
