// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/Parallel.h>
#include <omp.h>

#include <algorithm>
#include <cstdint>

#include "sparsify/quantization/round_avx512.hpp"
#include "sparsify/quantization/round_span.hpp"

namespace sparsify {
namespace detail {

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

inline Isa best_isa() {
  static const Isa isa = detect_isa();
  return isa;
}

#if defined(__x86_64__)
// The plain loops, compiled with more registers: always_inline gives them the caller's instruction set.
template <class Body>
__attribute__((target("avx2"))) void run_avx2(const Body& body) {
  body();
}
#endif

template <class Body>
void run_plain(const Body& body) {
#if defined(__x86_64__)
  if (best_isa() == Isa::kAvx2) return run_avx2(body);
#endif
  body();
}

template <bool kObserve, bool kMark, class T>
void round_best(const T* in, T* out, std::uint8_t* inside, std::int64_t count, const RoundTo& to,
                Extent& seen) {
#if defined(__x86_64__)
  if (best_isa() == Isa::kAvx512) return round_avx512<kObserve, kMark>(in, out, inside, count, to, seen);
#endif
  run_plain([&]() __attribute__((always_inline)) {
    round_span<kObserve, kMark>(in, out, inside, count, to, seen);
  });
}

template <class T>
void extent_best(const T* in, std::int64_t count, Extent& seen) {
#if defined(__x86_64__)
  if (best_isa() == Isa::kAvx512) return extent_avx512(in, count, seen);
#endif
  run_plain([&]() __attribute__((always_inline)) { extent_span(in, count, seen); });
}

template <class T>
void keep_best(const T* in, const std::uint8_t* inside, T* out, std::int64_t count) {
#if defined(__x86_64__)
  if (best_isa() == Isa::kAvx512) return keep_avx512(in, inside, out, count);
#endif
  run_plain([&]() __attribute__((always_inline)) { keep_span(in, inside, out, count); });
}

/// Splits [0, count) over the threads, in multiples of 64 elements: `run(begin, end)`.
template <class Run>
void over_threads(std::int64_t count, const Run& run) {
  const std::int64_t wanted = omp_in_parallel() ? 1 : at::get_num_threads();
  const std::int64_t threads = std::clamp<std::int64_t>(count / 16384, 1, wanted);
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
    round_best<kObserve, kMark>(in + begin, out + begin, kMark ? inside + begin : nullptr, end - begin, to,
                                seen);
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
    extent_best(in + begin, end - begin, seen);
#pragma omp critical(sparsify_extent)
    all.merge(seen);
  });
  return all;
}

template <class T>
void keep_all(const T* in, const std::uint8_t* inside, T* out, std::int64_t count) {
  over_threads(count, [&](std::int64_t begin, std::int64_t end) {
    keep_best(in + begin, inside + begin, out + begin, end - begin);
  });
}

}  // namespace detail
}  // namespace sparsify
