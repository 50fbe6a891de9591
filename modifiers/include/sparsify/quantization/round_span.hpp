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

/// Integers of a grid less its zero point, from `first` to `last`, `scale` apart in the result.
struct RoundTo {
  float scale;
  float
      step;  ///< apart in what is rounded: divided by, as engines do, since ties fall otherwise with a factor
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

// Eight flags of a byte each, 0 or 1, as the bits of one byte, the first one lowest.
inline __attribute__((always_inline)) std::uint8_t pack(const std::uint8_t* flags) {
  std::uint64_t eight;
  std::memcpy(&eight, flags, sizeof eight);
  return static_cast<std::uint8_t>((eight * 0x0102040810204080u) >> 56);
}

// The bits of a byte as eight flags, 0 or 1.
inline __attribute__((always_inline)) void unpack(std::uint8_t bits, std::uint8_t* flags) {
  const std::uint64_t spread = (bits * 0x0101010101010101u) & 0x8040201008040201u;
  const std::uint64_t eight = ((spread + 0x7f7f7f7f7f7f7f7fu) >> 7) & 0x0101010101010101u;
  std::memcpy(flags, &eight, sizeof eight);
}

/// Bytes that hold a bit for each of `count` elements.
inline std::int64_t bytes_of_bits(std::int64_t count) { return (count + 7) / 8; }

// One pass: notes the extent, rounds half to even, and marks by a bit what was inside the grid (for the
// gradient). A NaN stays one.
template <bool kObserve, bool kMark, class T>
inline __attribute__((always_inline)) void round_span(const T* in, T* out, std::uint8_t* inside,
                                                      std::int64_t count, const RoundTo& to, Extent& seen) {
  constexpr std::int64_t kBlock = 512;
  const float scale = to.scale, step = to.step, first = to.first, last = to.last;
  for (std::int64_t begin = 0; begin < count; begin += kBlock) {
    const std::int64_t size = std::min(kBlock, count - begin);
    float low = seen.low, high = seen.high;
    std::uint8_t flags[kBlock] = {};
#pragma omp simd reduction(min : low) reduction(max : high)
    for (std::int64_t i = 0; i < size; ++i) {
      const float value = widen(in[begin + i]);
      if (kObserve) {
        low = value < low ? value : low;
        high = value > high ? value : high;
      }
      const float integer = __builtin_rintf(value / step);
      if (kMark) flags[i] = static_cast<std::uint8_t>((integer >= first) & (integer <= last));
      const float raised = integer < first ? first : integer;
      narrow((raised > last ? last : raised) * scale, out[begin + i]);
    }
    seen.low = low, seen.high = high;
    if (kMark)
      for (std::int64_t i = 0; i < size; i += 8) inside[(begin + i) / 8] = pack(flags + i);
  }
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

// `factor` times what is marked, 0 elsewhere.
template <class T>
inline __attribute__((always_inline)) void keep_span(const T* in, const std::uint8_t* inside, T* out,
                                                     std::int64_t count, float factor) {
#pragma omp simd
  for (std::int64_t i = 0; i < count; ++i)
    narrow((inside[i >> 3] >> (i & 7)) & 1 ? widen(in[i]) * factor : 0.0f, out[i]);
}

}  // namespace detail
}  // namespace sparsify
