// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "detection/augment.hpp"

namespace sparsify::detection {
namespace {

// In sixths of a turn, from 0 to below 6; `high`, `low`: the largest and smallest channel.
float hue_of(float r, float g, float b, float high, float low) {
  const float span = high - low;
  if (span == 0) return 0;
  if (high == r) return g >= b ? (g - b) / span : (g - b) / span + 6;
  return high == g ? (b - r) / span + 2 : (r - g) / span + 4;
}

// How much of the span a channel has at a hue: 1 within a sixth of its own, 0 beyond two sixths.
float share(float hue, float channel) {
  float distance = std::fabs(hue - channel);
  if (distance > 3) distance = 6 - distance;
  return std::clamp(2 - distance, 0.F, 1.F);
}

std::uint8_t byte(float value) { return static_cast<std::uint8_t>(value + 0.5F); }

}  // namespace

void shift_colours(std::uint8_t* rgb, std::int64_t pixels, double hue, double saturation, double value) {
  const auto hue_factor = static_cast<float>(hue), saturation_factor = static_cast<float>(saturation),
             value_factor = static_cast<float>(value);
  for (auto* pixel = rgb; pixel < rgb + pixels * 3; pixel += 3) {
    const float r = pixel[0], g = pixel[1], b = pixel[2];
    const float high = std::max({r, g, b}), low = std::min({r, g, b});
    const float turned = std::fmod(hue_of(r, g, b, high, low) * hue_factor, 6.F);
    const float bright = std::min(255.F, high * value_factor);
    const float grey = high > 0 ? (high - low) / high : 0;
    const float span = std::min(1.F, grey * saturation_factor) * bright;
    const float floor = bright - span;
    pixel[0] = byte(floor + span * share(turned, 0));
    pixel[1] = byte(floor + span * share(turned, 2));
    pixel[2] = byte(floor + span * share(turned, 4));
  }
}

}  // namespace sparsify::detection
