// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "sparsify/detection/boxes.hpp"
#include "sparsify/trainers/image.hpp"
#include "workflow/detectors.hpp"

namespace sparsify {

/// A detector that can be run, wherever it comes from, and how to read what it gives.
struct RunnableDetector {
  std::string description;
  ModelCard card;
  Forward forward;
  detection::BoxReader reader{};

  /// What it finds in an image, best first. A file with non-maximum suppression inside finds no more
  /// than its own options let it.
  std::vector<detection::Detection> find(const trainers::Image& image,
                                         const detection::NmsOptions& options = {}) const;
};

/// Opens a run, a checkpoint, or an .onnx file exported by sparsify. Throws Error when it is no detector.
RunnableDetector open_detector(const std::filesystem::path& path);

/// A detector by its file with weights of another. `image_size` 0: as the file says. Throws Error.
RunnableDetector open_detector(const std::string& model, const std::filesystem::path& weights,
                               std::int64_t image_size);

}  // namespace sparsify
