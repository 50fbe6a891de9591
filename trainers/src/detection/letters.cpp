// SPDX-License-Identifier: Apache-2.0
#include "detection/letters.hpp"

#include <cmath>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wall"
#pragma GCC diagnostic ignored "-Wextra"
#pragma GCC diagnostic ignored "-Wunused-function"
#include <stb/stb_easy_font.h>
#pragma GCC diagnostic pop

namespace sparsify::detection {
namespace {

constexpr std::size_t kFloatsPerStroke = 16;  // four corners of x, y, z and a colour
constexpr std::size_t kMostStrokes = 16;      // of a letter

std::int64_t whole(float position) { return std::lround(position); }

}  // namespace

std::string drawable(const std::string& text) {
  std::string letters;
  for (const char letter : text) {
    const auto code = static_cast<unsigned char>(letter);
    const bool continues = (code & 0xC0) == 0x80;  // a further byte of a UTF-8 letter
    if (!continues) letters += code >= ' ' && code <= '~' ? letter : '?';
  }
  return letters;
}

std::vector<Rectangle> strokes_of(const std::string& text) {
  auto letters = text;
  std::vector<float> corners((text.size() + 1) * kMostStrokes * kFloatsPerStroke);
  const auto count = stb_easy_font_print(0, 0, letters.data(), nullptr, corners.data(),
                                         static_cast<int>(corners.size() * sizeof(float)));
  std::vector<Rectangle> strokes;
  for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
    const float* first = &corners[i * kFloatsPerStroke];
    const float* opposite = first + kFloatsPerStroke / 2;
    strokes.push_back({whole(first[0]), whole(first[1]), whole(opposite[0]), whole(opposite[1])});
  }
  return strokes;
}

std::int64_t width_of(const std::string& text) {
  auto letters = text;
  return stb_easy_font_width(letters.data());
}

}  // namespace sparsify::detection
