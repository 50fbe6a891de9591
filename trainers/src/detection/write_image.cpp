// SPDX-License-Identifier: Apache-2.0
#include <stb/stb_image_write.h>

#include "sparsify/detection/draw.hpp"
#include "sparsify/error.hpp"
#include "sparsify/trainers/atomic_file.hpp"
#include "sparsify/trainers/image_files.hpp"

namespace sparsify::detection {
namespace {

constexpr int kJpegQuality = 90;

void append(void* content, void* data, int size) {
  static_cast<std::string*>(content)->append(static_cast<const char*>(data), static_cast<std::size_t>(size));
}

std::string encoded(const trainers::Image& image, bool as_png) {
  std::string content;
  const auto width = static_cast<int>(image.width()), height = static_cast<int>(image.height());
  const int done =
      as_png ? stbi_write_png_to_func(append, &content, width, height, 3, image.rgb(), 3 * width)
             : stbi_write_jpg_to_func(append, &content, width, height, 3, image.rgb(), kJpegQuality);
  return done != 0 ? content : "";
}

}  // namespace

void write_image(const trainers::Image& image, const std::filesystem::path& path) {
  const auto ending = trainers::lower_extension(path);
  if (ending != ".png" && ending != ".jpg" && ending != ".jpeg")
    throw Error(path.string() + ": images are written to names that end in .png, .jpg or .jpeg");
  if (image.height() < 1 || image.width() < 1) throw Error(path.string() + ": the image has no pixels");
  const auto content = encoded(image, ending == ".png");
  if (content.empty()) throw Error(path.string() + ": the image could not be encoded");
  write_file_atomically(path, content);
}

}  // namespace sparsify::detection
