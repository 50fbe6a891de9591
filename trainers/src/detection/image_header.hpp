// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>

#include "sparsify/detection/dataset.hpp"

namespace sparsify::detection {

enum class ImageFormat { kJpeg, kPng, kOther };

/// What the first bytes of an image file say of it.
struct ImageHeader {
  ImageSize size{};     ///< upright
  int orientation = 1;  ///< as EXIF numbers them, 1 to 8: see upright
  ImageFormat format = ImageFormat::kOther;
  bool grey = false;  ///< of JPEG and PNG: one channel of light
};

/// Reads the header alone, nothing of the pixels. Throws Error naming the file when it is missing or no
/// image.
ImageHeader read_image_header(const std::filesystem::path& file);

}  // namespace sparsify::detection
