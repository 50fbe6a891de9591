// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstdint>
#include <memory>
#include <vector>

#include "sparsify/isa.hpp"
#include "sparsify/masks/order.hpp"
#include "sparsify/masks/threshold.hpp"

// Selection in one pass over memory: a sample brackets the threshold; the pass writes the mask for all values
// outside the bracket and collects the few inside; those are decided last. A sample that misleads costs time,
// never exactness.

namespace sparsify {
namespace detail {

/// A value inside the bracket.
struct Candidate {
  std::int64_t at;
  std::int32_t key;
};

/// What one thread finds in its part: how many lie below the bracket, and the candidates, in memory order, in
/// a buffer that is touched only as far as it is used.
struct Part {
  explicit Part(std::int64_t elements)
      : room(elements / 8 + 64), candidates(new Candidate[static_cast<std::size_t>(room)]) {}
  std::int64_t room, found = 0, below = 0;
  std::unique_ptr<Candidate[]> candidates;
  bool overflowed = false;

  const Candidate* begin() const { return candidates.get(); }
  const Candidate* end() const { return candidates.get() + found; }
};

/// The pass, plain: false when there are more candidates than room. Positions count from `values`.
template <class Order>
bool split_plain(const float* values, bool* keep, std::int64_t begin, std::int64_t end, Range bracket,
                 Part& part) {
  for (std::int64_t i = begin; i < end; ++i) {
    const auto key = Order::key(values[i]);
    keep[i] = key > bracket.high;
    part.below += key < bracket.low;
    if (key < bracket.low || key > bracket.high) continue;
    if (part.found == part.room) return false;
    part.candidates[static_cast<std::size_t>(part.found++)] = {i, key};
  }
  return true;
}

#if defined(__x86_64__)

// Four vectors of 8 comparison results as 32 bytes, in order.
__attribute__((target("avx2"), always_inline)) inline __m256i pack32(const __m256i (&results)[4]) {
  const auto bytes = _mm256_packs_epi16(_mm256_packs_epi32(results[0], results[1]),
                                        _mm256_packs_epi32(results[2], results[3]));
  return _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

template <class Order>
__attribute__((target("avx2,popcnt,bmi"))) bool split_avx2(const float* values, bool* keep,
                                                           std::int64_t begin, std::int64_t end,
                                                           Range bracket, Part& part) {
  const auto low = _mm256_set1_epi32(bracket.low), high = _mm256_set1_epi32(bracket.high);
  // Locals: the compiler must assume that a store to `keep` may change anything in memory.
  auto* const candidates = part.candidates.get();
  std::int64_t found = part.found, count_below = 0, i = begin;
  const auto room = part.room;
  for (; i + 32 <= end; i += 32) {
    __m256i above[4], below[4];
    for (int v = 0; v < 4; ++v) {
      const auto key = Order::keys(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(values + i + 8 * v)));
      above[v] = _mm256_cmpgt_epi32(key, high);
      below[v] = _mm256_cmpgt_epi32(low, key);
    }
    const auto kept = pack32(above), pruned = pack32(below);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(keep + i), _mm256_and_si256(kept, _mm256_set1_epi8(1)));
    const auto under = static_cast<std::uint32_t>(_mm256_movemask_epi8(pruned));
    count_below += __builtin_popcount(under);
    auto between = ~(under | static_cast<std::uint32_t>(_mm256_movemask_epi8(kept)));
    if (found + 32 > room) return false;
    for (; between != 0; between &= between - 1) {
      const auto at = i + __builtin_ctz(between);
      candidates[found++] = {at, Order::key(values[at])};
    }
  }
  part.found = found, part.below += count_below;
  return split_plain<Order>(values, keep, i, end, bracket, part);
}

template <class Order>
__attribute__((target("avx512f,avx512bw,avx512vl,popcnt,bmi"))) bool split_avx512(
    const float* values, bool* keep, std::int64_t begin, std::int64_t end, Range bracket, Part& part) {
  const auto low = _mm512_set1_epi32(bracket.low), high = _mm512_set1_epi32(bracket.high);
  auto* const candidates = part.candidates.get();
  std::int64_t found = part.found, count_below = 0, i = begin;
  const auto room = part.room;
  for (; i + 16 <= end; i += 16) {
    const auto key = Order::keys(_mm512_loadu_si512(values + i));
    const unsigned above = _mm512_cmpgt_epi32_mask(key, high), below = _mm512_cmplt_epi32_mask(key, low);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(keep + i),
                     _mm_maskz_set1_epi8(static_cast<__mmask16>(above), 1));
    count_below += __builtin_popcount(below);
    unsigned between = ~(above | below) & 0xffffU;
    if (found + 16 > room) return false;
    for (; between != 0; between &= between - 1) {
      const auto at = i + __builtin_ctz(between);
      candidates[found++] = {at, Order::key(values[at])};
    }
  }
  part.found = found, part.below += count_below;
  return split_plain<Order>(values, keep, i, end, bracket, part);
}

#endif

template <class Order>
bool split_best(const Span& span, std::int64_t begin, std::int64_t end, Range bracket, Part& part) {
#if defined(__x86_64__)
  if (best_isa() == Isa::kAvx512)
    return split_avx512<Order>(span.values, span.keep, begin, end, bracket, part);
  if (best_isa() == Isa::kAvx2) return split_avx2<Order>(span.values, span.keep, begin, end, bracket, part);
#endif
  return split_plain<Order>(span.values, span.keep, begin, end, bracket, part);
}

/// Guesses where the threshold lies: from eight values of each of some cache lines all over the spans.
template <class Order>
Range guess_bracket(const Spans& spans, std::int64_t total, std::int64_t pruned) {
  constexpr std::int64_t kLine = 16;
  // The larger the sample, the fewer candidates: both cost the same at about this size.
  const double wanted = std::min(131072.0, std::pow(1.5 * static_cast<double>(total), 2.0 / 3.0));
  const auto step = std::max<std::int64_t>(kLine, std::llround(8.0 * static_cast<double>(total) / wanted));
  std::vector<std::int32_t> sample;
  sample.reserve(static_cast<std::size_t>(wanted) + 64);
  std::uint64_t dice = 88172645463325252ULL;  // xorshift: steps of one length would fall in with the layout
  for (const auto& span : spans)
    for (std::int64_t at = 0; at + kLine <= span.count;) {
      for (std::int64_t i = at; i < at + kLine; i += 2) sample.push_back(Order::key(span.values[i]));
      dice ^= dice << 13, dice ^= dice >> 7, dice ^= dice << 17;
      at += step / 2 + static_cast<std::int64_t>(dice % static_cast<std::uint64_t>(step + 1));
    }
  if (sample.empty()) return {};
  const double n = static_cast<double>(sample.size());
  const double share = static_cast<double>(pruned) / static_cast<double>(total);
  const double spread = 4 * std::sqrt(n * share * (1 - share)) + 4;
  const auto low = n * share - spread, high = n * share + spread;
  Range bracket;
  if (low >= 1) bracket.low = threshold_of(sample, std::llround(low), {}).key;
  if (high <= n) bracket.high = threshold_of(sample, std::llround(high), {}).key;
  return bracket;
}

/// Writes the masks that prune `pruned` of all values together, 0 < pruned < their number. False, and the
/// masks undefined, when the bracket was wrong or holds too many: values that are mostly equal.
template <class Order>
bool write_masks_in_one_pass(const Spans& spans, Range bracket, std::int64_t pruned) {
  struct Located {
    const Span* span;
    Part part;
  };
  std::vector<Located> all;
  for (const auto& span : spans) {
    const auto parts = threads_for(span.count), first = static_cast<std::int64_t>(all.size());
    for (std::int64_t p = 0; p < parts; ++p) all.push_back({&span, Part(span.count / parts)});
    over_parts(parts, span.count, [&](std::int64_t p, std::int64_t begin, std::int64_t end) {
      auto& part = all[static_cast<std::size_t>(first + p)].part;
      part.overflowed = !split_best<Order>(span, begin, end, bracket, part);
    });
  }
  std::int64_t rest = pruned;
  std::vector<std::int32_t> keys;
  for (const auto& [span, part] : all) {
    if (part.overflowed) return false;
    rest -= part.below;
    for (const auto& candidate : part) keys.push_back(candidate.key);
  }
  if (rest < 0 || rest > static_cast<std::int64_t>(keys.size())) return false;
  Threshold threshold{bracket.low, 0};
  if (rest > 0) threshold = threshold_of(keys, rest, bracket);
  for (const auto& [span, part] : all)
    for (const auto& [at, key] : part)
      span->keep[at] = key > threshold.key || (key == threshold.key && threshold.ties-- <= 0);
  return true;
}

}  // namespace detail
}  // namespace sparsify
