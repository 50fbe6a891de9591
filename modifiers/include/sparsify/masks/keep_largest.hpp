// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "sparsify/isa.hpp"
#include "sparsify/masks/order.hpp"

// In every group of m values, keeps the n largest in an order. A group's values lie `taps` apart: groups are
// blocks of m rows with `taps` values each, one group to a column; with one tap, m values in a row.

namespace sparsify {
namespace detail {

/// One block, plain.
template <class Order>
void keep_largest_plain(const float* block, bool* keep, std::int64_t taps, std::int64_t n, std::int64_t m) {
  for (std::int64_t tap = 0; tap < taps; ++tap)
    for (std::int64_t i = 0; i < m; ++i) {
      const auto own = Order::key(block[i * taps + tap]);
      std::int64_t larger = 0;
      for (std::int64_t j = 0; j < m; ++j) {
        const auto other = Order::key(block[j * taps + tap]);
        larger += other > own || (other == own && j < i);
      }
      keep[i * taps + tap] = larger < n;
    }
}

#if defined(__x86_64__)

template <class Order>
__attribute__((target("avx2"), always_inline)) inline __m256i load_keys(const float* values) {
  return Order::keys(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(values)));
}

// Eight comparison results as eight bytes of 0 or 1.
__attribute__((target("avx2"), always_inline)) inline void store_kept(__m256i kept, bool* keep) {
  const auto halves = _mm_packs_epi32(_mm256_castsi256_si128(kept), _mm256_extracti128_si256(kept, 1));
  const auto bytes = _mm_and_si128(_mm_packs_epi16(halves, halves), _mm_set1_epi8(1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(keep), bytes);
}

// -1 where the other of a group is larger than one's own; `wins_ties`: where it has the lower index.
__attribute__((target("avx2"), always_inline)) inline __m256i is_larger(__m256i other, __m256i own,
                                                                        __m256i wins_ties) {
  return _mm256_or_si256(_mm256_cmpgt_epi32(other, own),
                         _mm256_and_si256(_mm256_cmpeq_epi32(other, own), wins_ties));
}

// Two groups of four side by side: each value meets the others of its group by rotation.
template <class Order>
__attribute__((target("avx2"), always_inline)) inline void keep_of_rows_of_4(const float* values, bool* keep,
                                                                             __m256i minus_n) {
  const auto key = load_keys<Order>(values);
  const auto by1 = _mm256_shuffle_epi32(key, 0x39), by2 = _mm256_shuffle_epi32(key, 0x4e),
             by3 = _mm256_shuffle_epi32(key, 0x93);
  auto larger = is_larger(by1, key, _mm256_setr_epi32(0, 0, 0, -1, 0, 0, 0, -1));
  larger = _mm256_add_epi32(larger, is_larger(by2, key, _mm256_setr_epi32(0, 0, -1, -1, 0, 0, -1, -1)));
  larger = _mm256_add_epi32(larger, is_larger(by3, key, _mm256_setr_epi32(0, -1, -1, -1, 0, -1, -1, -1)));
  store_kept(_mm256_cmpgt_epi32(larger, minus_n), keep);
}

// Eight groups of four, one to a column of four rows.
template <class Order>
__attribute__((target("avx2"), always_inline)) inline void keep_of_4_rows(const float* block, bool* keep,
                                                                          std::int64_t taps,
                                                                          __m256i minus_n) {
  __m256i key[4], larger[4];
  for (int i = 0; i < 4; ++i) key[i] = load_keys<Order>(block + i * taps), larger[i] = _mm256_setzero_si256();
  for (int i = 0; i < 4; ++i)
    for (int j = i + 1; j < 4; ++j) {
      const auto later_wins = _mm256_cmpgt_epi32(key[j], key[i]);
      larger[i] = _mm256_add_epi32(larger[i], later_wins);
      larger[j] = _mm256_add_epi32(larger[j], _mm256_xor_si256(later_wins, _mm256_set1_epi32(-1)));
    }
  for (int i = 0; i < 4; ++i) store_kept(_mm256_cmpgt_epi32(larger[i], minus_n), keep + i * taps);
}

template <class Order>
__attribute__((target("avx2"))) void keep_largest_of_4_avx2(const float* values, bool* keep,
                                                            std::int64_t count, std::int64_t taps,
                                                            std::int64_t n) {
  const auto minus_n = _mm256_set1_epi32(static_cast<int>(-n));
  std::int64_t i = 0;
  if (taps == 1) {
    for (; i + 8 <= count; i += 8) keep_of_rows_of_4<Order>(values + i, keep + i, minus_n);
    for (; i < count; i += 4) keep_largest_plain<Order>(values + i, keep + i, 1, n, 4);
    return;
  }
  for (; i < count; i += 4 * taps) {
    std::int64_t tap = 0;
    for (; tap + 8 <= taps; tap += 8) keep_of_4_rows<Order>(values + i + tap, keep + i + tap, taps, minus_n);
    if (tap == taps) continue;
    if (taps >= 8)  // the last eight again, rather than a few one by one
      keep_of_4_rows<Order>(values + i + taps - 8, keep + i + taps - 8, taps, minus_n);
    else
      keep_largest_plain<Order>(values + i, keep + i, taps, n, 4);
  }
}

#endif

/// `count` values, in blocks of m rows with `taps` values.
template <class Order>
void keep_largest(const float* values, bool* keep, std::int64_t count, std::int64_t taps, std::int64_t n,
                  std::int64_t m) {
#if defined(__x86_64__)
  if (m == 4 && best_isa() != Isa::kBaseline)
    return keep_largest_of_4_avx2<Order>(values, keep, count, taps, n);
#endif
  for (std::int64_t i = 0; i < count; i += m * taps)
    keep_largest_plain<Order>(values + i, keep + i, taps, n, m);
}

}  // namespace detail
}  // namespace sparsify
