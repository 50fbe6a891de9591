// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>

#include "sparsify/detection/detection_task.hpp"

namespace sparsify {

/// Draws the first images of the validation set in two grids, with the objects that are labelled and with
/// those that `forward` finds (scores of 0.25 and more), into two files. Throws Error when one cannot be
/// written.
void write_detection_pictures(const detection::DetectionTask& task, const Forward& forward,
                              const std::filesystem::path& labels, const std::filesystem::path& predictions);

}  // namespace sparsify
