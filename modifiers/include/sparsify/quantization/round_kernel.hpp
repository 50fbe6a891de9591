// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "sparsify/isa.hpp"
#include "sparsify/over_threads.hpp"
#include "sparsify/quantization/round_avx512.hpp"
#include "sparsify/quantization/round_span.hpp"

namespace sparsify {
namespace detail {

template <bool kObserve, bool kMark, class T>
void round_best(const T* in, T* out, std::uint8_t* inside, std::int64_t count, const RoundTo& to,
                Extent& seen) {
#if defined(__x86_64__)
  if (best_isa() == Isa::kAvx512) return round_avx512<kObserve, kMark>(in, out, inside, count, to, seen);
#endif
  run_best([&]() __attribute__((always_inline)) {
    round_span<kObserve, kMark>(in, out, inside, count, to, seen);
  });
}

template <class T>
void extent_best(const T* in, std::int64_t count, Extent& seen) {
#if defined(__x86_64__)
  if (best_isa() == Isa::kAvx512) return extent_avx512(in, count, seen);
#endif
  run_best([&]() __attribute__((always_inline)) { extent_span(in, count, seen); });
}

template <class T>
void keep_best(const T* in, const std::uint8_t* inside, T* out, std::int64_t count, float factor) {
#if defined(__x86_64__)
  if (best_isa() == Isa::kAvx512) return keep_avx512(in, inside, out, count, factor);
#endif
  run_best([&]() __attribute__((always_inline)) { keep_span(in, inside, out, count, factor); });
}

template <bool kObserve, bool kMark, class T>
Extent round_all(const T* in, T* out, std::uint8_t* inside, std::int64_t count, const RoundTo& to) {
  Extent all;
  over_threads(count, [&](std::int64_t begin, std::int64_t end) {
    Extent seen;
    round_best<kObserve, kMark>(in + begin, out + begin, kMark ? inside + begin / 8 : nullptr, end - begin,
                                to, seen);
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
void keep_all(const T* in, const std::uint8_t* inside, T* out, std::int64_t count, float factor) {
  over_threads(count, [&](std::int64_t begin, std::int64_t end) {
    keep_best(in + begin, inside + begin / 8, out + begin, end - begin, factor);
  });
}

}  // namespace detail
}  // namespace sparsify
