// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace sparsify::trainers {

/// 8-bit RGB, interleaved, rows without padding. Owns its pixels or views those of a data set that outlives
/// it.
class Image {
 public:
  Image() = default;
  /// Takes the pixels over; `rgb` holds height * width * 3 bytes, else throws Error.
  Image(int64_t height, int64_t width, std::vector<uint8_t> rgb);
  /// Borrows pixels; nothing is copied.
  static Image view(int64_t height, int64_t width, const uint8_t* rgb);

  Image(Image&& other) noexcept { *this = std::move(other); }
  Image& operator=(Image&& other) noexcept;
  Image(const Image&) = delete;
  Image& operator=(const Image&) = delete;

  int64_t height() const { return height_; }
  int64_t width() const { return width_; }
  const uint8_t* rgb() const { return rgb_; }
  const uint8_t* pixel(int64_t y, int64_t x) const { return rgb_ + (y * width_ + x) * 3; }

 private:
  int64_t height_ = 0;
  int64_t width_ = 0;
  const uint8_t* rgb_ = nullptr;
  std::vector<uint8_t> storage_;
};

/// A rectangle of pixels.
struct Box {
  int64_t top = 0;
  int64_t left = 0;
  int64_t height = 0;
  int64_t width = 0;
};

/// Decodes a JPEG, PNG or BMP held in memory (told apart by content, not by name); grey and CMYK become RGB.
/// `at_least`: when positive, a JPEG may be decoded at 1/2, 1/4 or 1/8 size as long as its shorter side stays
/// at least that many pixels; this is several times faster. Throws Error naming `name` when broken or
/// truncated.
Image decode_image(std::span<const std::byte> bytes, const std::string& name, int64_t at_least = 0);

/// Height and width of an image file in pixels, from its header alone. Throws Error naming the file when it
/// is missing or no image.
std::pair<int64_t, int64_t> read_image_size(const std::string& path);

/// Reads and decodes a file; see decode_image.
Image load_image(const std::string& path, int64_t at_least = 0);

/// Resizes the pixels inside `source` to height x width. Triangle filter, widened when shrinking (antialiased
/// bilinear).
Image resize(const Image& image, Box source, int64_t height, int64_t width);

/// The part `window` of the image resized to height x width, without computing the rest.
Image resize_window(const Image& image, int64_t height, int64_t width, Box window);

}  // namespace sparsify::trainers
