// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <cstring>

#include "sparsify/quantization/round_span.hpp"

#if defined(__x86_64__)
#include <immintrin.h>

// The loops of round_span.hpp with 16 elements at a time: compilers choose 4 when bytes, halves and floats
// meet in one loop.

namespace sparsify {
namespace detail {

__attribute__((target("avx512f,avx512bw,avx512vl"))) inline __m512 load16(const float* in) {
  return _mm512_loadu_ps(in);
}
__attribute__((target("avx512f,avx512bw,avx512vl"))) inline __m512 load16(const std::uint16_t* in) {
  const auto half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(in));
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}
__attribute__((target("avx512f,avx512bw,avx512vl"))) inline void store16(__m512 values, float* out) {
  _mm512_storeu_ps(out, values);
}
__attribute__((target("avx512f,avx512bw,avx512vl"))) inline void store16(__m512 values, std::uint16_t* out) {
  const auto wide = _mm512_castps_si512(values);
  const auto odd = _mm512_and_si512(_mm512_srli_epi32(wide, 16), _mm512_set1_epi32(1));
  const auto even = _mm512_add_epi32(_mm512_add_epi32(wide, _mm512_set1_epi32(0x7fff)), odd);
  const auto is_nan = _mm512_cmp_ps_mask(values, values, _CMP_UNORD_Q);
  const auto kept = _mm512_mask_or_epi32(even, is_nan, wide, _mm512_set1_epi32(0x400000));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), _mm512_cvtepi32_epi16(_mm512_srli_epi32(kept, 16)));
}

template <bool kObserve, bool kMark, class T>
__attribute__((target("avx512f,avx512bw,avx512vl"))) void round_avx512(const T* in, T* out,
                                                                       std::uint8_t* inside,
                                                                       std::int64_t count, const RoundTo& to,
                                                                       Extent& seen) {
  const auto scale = _mm512_set1_ps(to.scale), step = _mm512_set1_ps(to.step);
  const auto first = _mm512_set1_ps(to.first), last = _mm512_set1_ps(to.last);
  auto low = _mm512_set1_ps(seen.low), high = _mm512_set1_ps(seen.high);
  std::int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    const auto value = load16(in + i);
    // min and max give their second operand when one is not a number.
    if (kObserve) low = _mm512_min_ps(value, low), high = _mm512_max_ps(value, high);
    const auto integer = _mm512_roundscale_ps(_mm512_div_ps(value, step), _MM_FROUND_CUR_DIRECTION);
    if (kMark) {
      const auto above = _mm512_cmp_ps_mask(integer, first, _CMP_GE_OQ);
      const auto both = _mm512_mask_cmp_ps_mask(above, integer, last, _CMP_LE_OQ);
      std::memcpy(inside + i / 8, &both, sizeof both);
    }
    store16(_mm512_mul_ps(_mm512_min_ps(last, _mm512_max_ps(first, integer)), scale), out + i);
  }
  seen.merge({_mm512_reduce_min_ps(low), _mm512_reduce_max_ps(high)});
  round_span<kObserve, kMark>(in + i, out + i, kMark ? inside + i / 8 : nullptr, count - i, to, seen);
}

template <class T>
__attribute__((target("avx512f,avx512bw,avx512vl"))) void extent_avx512(const T* in, std::int64_t count,
                                                                        Extent& seen) {
  auto low = _mm512_set1_ps(seen.low), high = _mm512_set1_ps(seen.high);
  std::int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    const auto value = load16(in + i);
    low = _mm512_min_ps(value, low), high = _mm512_max_ps(value, high);
  }
  seen.merge({_mm512_reduce_min_ps(low), _mm512_reduce_max_ps(high)});
  extent_span(in + i, count - i, seen);
}

template <class T>
__attribute__((target("avx512f,avx512bw,avx512vl"))) void keep_avx512(const T* in, const std::uint8_t* inside,
                                                                      T* out, std::int64_t count,
                                                                      float factor) {
  const auto factors = _mm512_set1_ps(factor);
  std::int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    __mmask16 keep;
    std::memcpy(&keep, inside + i / 8, sizeof keep);
    store16(_mm512_maskz_mul_ps(keep, load16(in + i), factors), out + i);
  }
  keep_span(in + i, inside + i / 8, out + i, count - i, factor);
}

}  // namespace detail
}  // namespace sparsify

#endif
