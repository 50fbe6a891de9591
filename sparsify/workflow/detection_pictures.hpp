// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <vector>

#include "sparsify/detection/dataset.hpp"
#include "workflow/runnable_detector.hpp"

namespace sparsify {

/// Draws the first images of a set in two grids, with the objects that are labelled and with those that the
/// detector finds (in squares, scores of 0.25 and more): labels.jpg and predictions.jpg in a folder. Returns
/// their paths. Throws Error when one cannot be written.
std::vector<std::filesystem::path> write_detection_pictures(const detection::DetectionDataset& images,
                                                            const RunnableDetector& detector,
                                                            const std::filesystem::path& folder);

}  // namespace sparsify
