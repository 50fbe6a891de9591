// SPDX-License-Identifier: Apache-2.0
// JPEGs that are to be turned.
#pragma once

#include <string>

namespace detection_test {

/// A JPEG with an EXIF segment that says this orientation, in Motorola's or Intel's order of bytes.
inline std::string with_orientation(const std::string& jpeg, int orientation, bool big_endian) {
  const auto number = [&](int value, int bytes) {
    std::string text;
    for (int i = 0; i < bytes; ++i) {
      const int shift = 8 * (big_endian ? bytes - 1 - i : i);
      text += static_cast<char>(value >> shift & 255);
    }
    return text;
  };
  const std::string zeros(2, '\0');
  const auto width_of_image = number(0x0100, 2) + number(4, 2) + number(1, 4) + number(7, 4);
  const auto turned = number(0x0112, 2) + number(3, 2) + number(1, 4) + number(orientation, 2) + zeros;
  const auto content = "Exif" + zeros + (big_endian ? "MM" : "II") + number(42, 2) + number(8, 4) +
                       number(2, 2) + width_of_image + turned + number(0, 4);
  const auto length = content.size() + 2;
  return jpeg.substr(0, 2) + "\xFF\xE1" + static_cast<char>(length >> 8) + static_cast<char>(length & 255) +
         content + jpeg.substr(2);
}

}  // namespace detection_test
