// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <cstring>
#include <limits>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace sparsify {
namespace detail {

// The bits of IEEE floats, read as integers, sort as the floats do, apart from the sign.
inline std::int32_t bits_of(float value) {
  std::int32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

/// Orders values by magnitude: keys are integers that compare as |x| does. A NaN is the largest.
struct ByMagnitude {
  static std::int32_t key(float value) { return bits_of(value) & 0x7fffffff; }
#if defined(__x86_64__)
  __attribute__((target("avx2"), always_inline)) static inline __m256i keys(__m256i bits) {
    return _mm256_and_si256(bits, _mm256_set1_epi32(0x7fffffff));
  }
  __attribute__((target("avx512f"), always_inline)) static inline __m512i keys(__m512i bits) {
    return _mm512_and_si512(bits, _mm512_set1_epi32(0x7fffffff));
  }
#endif
};

/// Orders values as numbers: what is below zero comes first. A NaN is the largest.
struct ByValue {
  static std::int32_t key(float value) {
    if (value != value) return std::numeric_limits<std::int32_t>::max();
    const auto bits = bits_of(value);
    return bits ^ (bits >> 31 & 0x7fffffff);
  }
#if defined(__x86_64__)
  __attribute__((target("avx2"), always_inline)) static inline __m256i keys(__m256i bits) {
    const auto largest = _mm256_set1_epi32(0x7fffffff), infinity = _mm256_set1_epi32(0x7f800000);
    const auto is_nan = _mm256_cmpgt_epi32(_mm256_and_si256(bits, largest), infinity);
    const auto key = _mm256_xor_si256(bits, _mm256_and_si256(_mm256_srai_epi32(bits, 31), largest));
    return _mm256_blendv_epi8(key, largest, is_nan);
  }
  __attribute__((target("avx512f"), always_inline)) static inline __m512i keys(__m512i bits) {
    const auto largest = _mm512_set1_epi32(0x7fffffff), infinity = _mm512_set1_epi32(0x7f800000);
    const auto is_nan = _mm512_cmpgt_epi32_mask(_mm512_and_si512(bits, largest), infinity);
    const auto key = _mm512_xor_si512(bits, _mm512_and_si512(_mm512_srai_epi32(bits, 31), largest));
    return _mm512_mask_mov_epi32(key, is_nan, largest);
  }
#endif
};

}  // namespace detail
}  // namespace sparsify
