// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <filesystem>
#include <vector>

#include "sparsify/detection/detection_task.hpp"

namespace sparsify {

/// Writes PR_curve.svg, F1_curve.svg and confusion_matrix.svg into a folder: of detector `which`, after a
/// pass. Returns their paths.
std::vector<std::filesystem::path> write_detection_plots(const detection::DetectionValidation& pass,
                                                         std::size_t which,
                                                         const std::filesystem::path& folder);

}  // namespace sparsify
