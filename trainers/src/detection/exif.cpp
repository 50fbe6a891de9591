// SPDX-License-Identifier: Apache-2.0
#include "detection/exif.hpp"

#include <cstddef>
#include <cstdint>

namespace sparsify::detection {
namespace {

/// TIFF's numbers, in the byte order that its first letters name; 0 beyond the end.
class TiffReader {
 public:
  explicit TiffReader(std::string_view bytes) : bytes_(bytes), little_(bytes.starts_with("II")) {}

  std::uint32_t number(std::size_t at, std::size_t count) const {
    if (at > bytes_.size() || count > bytes_.size() - at) return 0;
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < count; ++i)
      value = value << 8 | static_cast<unsigned char>(bytes_[little_ ? at + count - 1 - i : at + i]);
    return value;
  }

 private:
  std::string_view bytes_;
  bool little_;
};

}  // namespace

std::optional<int> exif_orientation(std::string_view segment) {
  using namespace std::string_view_literals;
  constexpr auto kStart = "Exif\0\0"sv;
  constexpr std::uint32_t kOrientation = 0x0112, kShort = 3;
  if (!segment.starts_with(kStart)) return {};
  const auto tiff = segment.substr(kStart.size());
  if (!tiff.starts_with("II") && !tiff.starts_with("MM")) return {};
  const TiffReader reader(tiff);
  const std::size_t directory = reader.number(4, 4);
  const auto entries = reader.number(directory, 2);
  for (std::size_t i = 0; i < entries; ++i) {
    const auto entry = directory + 2 + i * 12;
    if (reader.number(entry, 2) != kOrientation || reader.number(entry + 2, 2) != kShort) continue;
    const auto value = reader.number(entry + 8, 2);
    if (value >= 1 && value <= 8) return static_cast<int>(value);
  }
  return {};
}

}  // namespace sparsify::detection
