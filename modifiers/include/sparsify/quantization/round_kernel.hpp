// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/Parallel.h>
#include <omp.h>

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

// The same loops, compiled for three instruction sets.
enum class Isa { kBaseline, kAvx2, kAvx512 };

inline Isa detect_isa() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl"))
    return Isa::kAvx512;
  if (__builtin_cpu_supports("avx2")) return Isa::kAvx2;
#endif
  return Isa::kBaseline;
}

#if defined(__x86_64__)
template <class Body>
__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq"))) void run_avx512(const Body& body) {
  body();
}
template <class Body>
__attribute__((target("avx2"))) void run_avx2(const Body& body) {
  body();
}
#endif

/// Runs `body`, an object whose call operator is always inlined, compiled for the best instruction set of
/// this machine.
template <class Body>
void run_best(const Body& body) {
#if defined(__x86_64__)
  static const Isa isa = detect_isa();
  if (isa == Isa::kAvx512) return run_avx512(body);
  if (isa == Isa::kAvx2) return run_avx2(body);
#endif
  body();
}

/// Splits [0, count) over the threads, in multiples of 64 elements: `run(begin, end)`.
template <class Run>
void over_threads(std::int64_t count, const Run& run) {
  const std::int64_t threads =
      std::clamp<std::int64_t>(count / 16384, 1, omp_in_parallel() ? 1 : at::get_num_threads());
  const std::int64_t share = (count / threads + 63) / 64 * 64;
#pragma omp parallel for schedule(static) num_threads(static_cast<int>(threads)) if (threads > 1)
  for (std::int64_t t = 0; t < threads; ++t) {
    const std::int64_t begin = std::min(count, t * share),
                       end = t + 1 == threads ? count : std::min(count, begin + share);
    if (begin < end) run(begin, end);
  }
}

template <bool kObserve, bool kMark, class T>
Extent round_all(const T* in, T* out, std::uint8_t* inside, std::int64_t count, const RoundTo& to) {
  Extent all;
  over_threads(count, [&](std::int64_t begin, std::int64_t end) {
    Extent seen;
    run_best([&]() __attribute__((always_inline)) {
      round_span<kObserve, kMark>(in + begin, out + begin, kMark ? inside + begin : nullptr, end - begin, to,
                                  seen);
    });
    if (kObserve)
#pragma omp critical(sparsify_extent)
      all.merge(seen);
  });
  return all;
}

template <class T>
Extent extent_all(const T* in, std::int64_t count) {
  Extent all;
  over_threads(count, [&](std::int64_t begin, std::int64_t end) {
    Extent seen;
    run_best([&]() __attribute__((always_inline)) { extent_span(in + begin, end - begin, seen); });
#pragma omp critical(sparsify_extent)
    all.merge(seen);
  });
  return all;
}

template <class T>
void keep_all(const T* in, const std::uint8_t* inside, T* out, std::int64_t count) {
  over_threads(count, [&](std::int64_t begin, std::int64_t end) {
    run_best([&]() __attribute__((always_inline)) {
      keep_span(in + begin, inside + begin, out + begin, end - begin);
    });
  });
}

}  // namespace detail
}  // namespace sparsify
