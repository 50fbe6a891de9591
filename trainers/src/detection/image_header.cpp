// SPDX-License-Identifier: Apache-2.0
#include "detection/image_header.hpp"

#include <cstdint>
#include <fstream>
#include <optional>
#include <string>
#include <utility>

#include "detection/exif.hpp"
#include "sparsify/trainers/image.hpp"

namespace sparsify::detection {
namespace {

constexpr std::int64_t kMostPixels = std::int64_t{1} << 28;  // what decode_image accepts

std::string read_bytes(std::istream& stream, std::size_t count) {
  std::string bytes(count, '\0');
  stream.read(bytes.data(), static_cast<std::streamsize>(count));
  bytes.resize(static_cast<std::size_t>(stream.gcount()));
  return bytes;
}

std::int64_t big_endian(const std::string& bytes, std::size_t at, std::size_t count) {
  std::int64_t value = 0;
  for (std::size_t i = at; i < at + count; ++i) value = value << 8 | static_cast<unsigned char>(bytes.at(i));
  return value;
}

bool is_usable(const ImageSize& size) {
  return size.height > 0 && size.width > 0 && size.height <= kMostPixels / size.width;
}

// Of a JPEG: the next segment's marker, or -1.
int next_marker(std::istream& stream) {
  if (stream.get() != 0xFF) return -1;
  int marker = stream.get();
  while (marker == 0xFF) marker = stream.get();
  return stream ? marker : -1;
}

bool starts_frame(int marker) {
  return marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC;
}

bool starts_scan_or_ends(int marker) { return marker < 0 || marker == 0xDA || marker == 0xD9; }

bool stands_alone(int marker) { return marker == 0x01 || (marker >= 0xD0 && marker <= 0xD7); }

std::optional<ImageHeader> jpeg_header(std::istream& stream) {
  ImageHeader header{{}, 1, ImageFormat::kJpeg};
  stream.seekg(2);
  for (int marker = next_marker(stream); !starts_scan_or_ends(marker); marker = next_marker(stream)) {
    if (stands_alone(marker)) continue;
    const auto length = read_bytes(stream, 2);
    if (length.size() < 2 || big_endian(length, 0, 2) < 2) return {};
    const auto count = static_cast<std::size_t>(big_endian(length, 0, 2)) - 2;
    if (starts_frame(marker)) {
      const auto frame = read_bytes(stream, 6);
      if (frame.size() < 6) return {};
      header.size = {big_endian(frame, 1, 2), big_endian(frame, 3, 2)};
      header.grey = frame[5] == 1;  // components
      if (header.orientation > 4) std::swap(header.size.height, header.size.width);
      return header;
    }
    constexpr int kExif = 0xE1;
    if (marker == kExif) {
      if (const auto found = exif_orientation(read_bytes(stream, count))) header.orientation = *found;
    } else {
      stream.seekg(static_cast<std::streamoff>(count), std::ios::cur);
    }
  }
  return {};
}

// `start`: up to the kind of colours.
ImageHeader png_header(const std::string& start) {
  const bool has_colours = start[25] & 2;
  return {{big_endian(start, 20, 4), big_endian(start, 16, 4)}, 1, ImageFormat::kPng, !has_colours};
}

std::optional<ImageHeader> quick_header(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  const auto start = read_bytes(stream, 26);
  stream.clear();
  if (start.starts_with("\xFF\xD8")) return jpeg_header(stream);
  if (start.size() == 26 && start.starts_with("\x89PNG\r\n\x1A\n") && start.substr(12, 4) == "IHDR")
    return png_header(start);
  return {};
}

}  // namespace

ImageHeader read_image_header(const std::filesystem::path& file) {
  if (const auto header = quick_header(file); header && is_usable(header->size)) return *header;
  const auto [height, width] = trainers::read_image_size(file.string());  // rare formats, and what is wrong
  return {.size = {height, width}};
}

}  // namespace sparsify::detection
