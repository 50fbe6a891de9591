// SPDX-License-Identifier: Apache-2.0
#include "detection/augment.hpp"

#include <catch2/catch_test_macros.hpp>
#include <cstdlib>

using namespace sparsify::detection;

namespace {

using Pixels = std::vector<std::uint8_t>;

/// Every 15th value of each channel, and noise.
Pixels many_colours() {
  Pixels rgb;
  for (int r = 0; r < 256; r += 15)
    for (int g = 0; g < 256; g += 15)
      for (int b = 0; b < 256; b += 15)
        for (const int value : {r, g, b}) rgb.push_back(static_cast<std::uint8_t>(value));
  sparsify::trainers::CounterRng rng(5);
  for (int i = 0; i < 3000; ++i) rgb.push_back(static_cast<std::uint8_t>(rng.below(256)));
  return rgb;
}

Pixels shifted(Pixels rgb, double hue, double saturation, double value) {
  shift_colours(rgb.data(), static_cast<std::int64_t>(rgb.size() / 3), hue, saturation, value);
  return rgb;
}

int largest_difference(const Pixels& a, const Pixels& b) {
  int largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(a[i] - b[i]));
  return largest;
}

}  // namespace

TEST_CASE("colours times one are what they were") {
  const auto colours = many_colours();
  CHECK(largest_difference(shifted(colours, 1, 1, 1), colours) <= 1);
}

TEST_CASE("half the value halves every channel; more than white is not to be had") {
  const auto colours = many_colours();
  auto half = colours;
  for (auto& channel : half) channel = static_cast<std::uint8_t>(channel / 2);
  CHECK(largest_difference(shifted(colours, 1, 1, 0.5), half) <= 1);
  CHECK(shifted({100, 50, 0}, 1, 1, 2) == Pixels{200, 100, 0});
  CHECK(shifted({200, 100, 0}, 1, 1, 2) == Pixels{255, 128, 0});
  CHECK(shifted({200, 100, 0}, 1, 1, 0) == Pixels{0, 0, 0});
}

TEST_CASE("saturation moves the smaller channels, the largest one stays") {
  CHECK(shifted({200, 150, 100}, 1, 0, 1) == Pixels{200, 200, 200});
  CHECK(shifted({200, 150, 100}, 1, 0.5, 1) == Pixels{200, 175, 150});
  CHECK(shifted({200, 150, 100}, 1, 2, 1) == Pixels{200, 100, 0});
  CHECK(shifted({200, 150, 100}, 1, 3, 1) == Pixels{200, 100, 0});
  CHECK(shifted({77, 77, 77}, 1, 2, 1) == Pixels{77, 77, 77});
  CHECK(shifted({0, 0, 0}, 1, 2, 1) == Pixels{0, 0, 0});
}

TEST_CASE("hues, counted in turns from red, are multiplied") {
  const Pixels red = {200, 0, 0}, yellow = {200, 200, 0}, green = {0, 200, 0}, cyan = {0, 200, 200},
               blue = {0, 0, 200}, pink = {200, 0, 200};
  CHECK(shifted(red, 1.5, 1, 1) == red);  // 0
  CHECK(shifted(yellow, 2, 1, 1) == green);
  CHECK(shifted(yellow, 1.5, 1, 1) == Pixels{100, 200, 0});
  CHECK(shifted(green, 0.5, 1, 1) == yellow);
  CHECK(shifted(green, 1.5, 1, 1) == cyan);
  CHECK(shifted(cyan, 4.0 / 3, 1, 1) == blue);
  CHECK(shifted(blue, 0.5, 1, 1) == green);
  CHECK(shifted(blue, 1.5, 1, 1) == red);      // a whole turn
  CHECK(shifted(blue, 1.75, 1, 1) == yellow);  // and a sixth
  CHECK(shifted(pink, 0.4, 1, 1) == green);
  CHECK(shifted({200, 100, 100}, 0.7, 1, 1) == Pixels{200, 100, 100});
}

TEST_CASE("every factor of colours gives the hue, saturation and value that it asks for") {
  const auto colours = many_colours();
  const auto result = shifted(colours, 0.9, 0.6, 0.8);
  for (std::size_t i = 0; i < colours.size(); i += 3) {
    const auto highest = [&](const Pixels& rgb) { return std::max({rgb[i], rgb[i + 1], rgb[i + 2]}); };
    const auto lowest = [&](const Pixels& rgb) { return std::min({rgb[i], rgb[i + 1], rgb[i + 2]}); };
    const double high = highest(colours) * 0.8;
    const double saturation =
        highest(colours) ? 1 - lowest(colours) / static_cast<double>(highest(colours)) : 0;
    REQUIRE(std::abs(highest(result) - high) <= 1);
    REQUIRE(std::abs(lowest(result) - high * (1 - saturation * 0.6)) <= 1);
  }
}
