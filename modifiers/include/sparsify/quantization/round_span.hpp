// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>

namespace sparsify {

/// Smallest and largest value seen; empty at first.
struct Extent {
  float low = std::numeric_limits<float>::infinity();
  float high = -std::numeric_limits<float>::infinity();

  bool empty() const { return !(low <= high); }
  void merge(const Extent& other) {
    low = std::min(low, other.low);
    high = std::max(high, other.high);
  }
};

namespace detail {

/// Multiples of `scale` from `first` to `last`: the integers of a grid, less its zero point.
struct RoundTo {
  float scale;
  float inverse;
  float first;
  float last;
};

inline __attribute__((always_inline)) float widen(float value) { return value; }
inline __attribute__((always_inline)) float widen(std::uint16_t bits) {
  const std::uint32_t wide = static_cast<std::uint32_t>(bits) << 16;
  float value;
  std::memcpy(&value, &wide, sizeof value);
  return value;
}
inline __attribute__((always_inline)) void narrow(float value, float& out) { out = value; }
// bfloat16, half to even; the quiet bit keeps a NaN one.
inline __attribute__((always_inline)) void narrow(float value, std::uint16_t& out) {
  std::uint32_t wide;
  std::memcpy(&wide, &value, sizeof wide);
  const std::uint32_t rounded = (wide + 0x7fffu + ((wide >> 16) & 1u)) >> 16;
  out = static_cast<std::uint16_t>((wide & 0x7fffffffu) > 0x7f800000u ? (wide >> 16) | 0x40u : rounded);
}

// One pass: notes the extent, rounds half to even, and marks what was inside the grid (for the gradient). A
// NaN stays one.
template <bool kObserve, bool kMark, class T>
inline __attribute__((always_inline)) void round_span(const T* in, T* out, std::uint8_t* inside,
                                                      std::int64_t count, const RoundTo& to, Extent& seen) {
  float low = seen.low, high = seen.high;
  const float scale = to.scale, inverse = to.inverse, first = to.first, last = to.last;
#pragma omp simd reduction(min : low) reduction(max : high)
  for (std::int64_t i = 0; i < count; ++i) {
    const float value = widen(in[i]);
    if (kObserve) {
      low = value < low ? value : low;
      high = value > high ? value : high;
    }
    const float integer = __builtin_rintf(value * inverse);
    if (kMark) inside[i] = static_cast<std::uint8_t>((integer >= first) & (integer <= last));
    const float raised = integer < first ? first : integer;
    narrow((raised > last ? last : raised) * scale, out[i]);
  }
  seen.low = low, seen.high = high;
}

template <class T>
inline __attribute__((always_inline)) void extent_span(const T* in, std::int64_t count, Extent& seen) {
  float low = seen.low, high = seen.high;
#pragma omp simd reduction(min : low) reduction(max : high)
  for (std::int64_t i = 0; i < count; ++i) {
    const float value = widen(in[i]);
    low = value < low ? value : low;
    high = value > high ? value : high;
  }
  seen.low = low, seen.high = high;
}

template <class T>
inline __attribute__((always_inline)) void keep_span(const T* in, const std::uint8_t* inside, T* out,
                                                     std::int64_t count) {
  constexpr T kNothing = 0;
#pragma omp simd
  for (std::int64_t i = 0; i < count; ++i) out[i] = inside[i] ? in[i] : kNothing;
}

}  // namespace detail
}  // namespace sparsify
