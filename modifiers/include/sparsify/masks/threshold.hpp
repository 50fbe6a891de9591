// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "sparsify/over_threads.hpp"

namespace sparsify {
namespace detail {

/// Values in memory, and where their mask goes.
struct Span {
  const float* values;
  bool* keep;
  std::int64_t count;
};
using Spans = std::vector<Span>;

/// Everything below `key` is pruned, and the first `ties` of what equals it.
struct Threshold {
  std::int32_t key;
  std::int64_t ties;
};

/// Keys from `low` to `high`, both included.
struct Range {
  std::int32_t low = std::numeric_limits<std::int32_t>::min();
  std::int32_t high = std::numeric_limits<std::int32_t>::max();
};

using Histogram = std::vector<std::int64_t>;

/// The bucket that holds the element of rank `rank` (0-based); lowers `rank` to its rank within the bucket.
inline std::uint32_t find_bucket(const Histogram& histogram, std::int64_t& rank) {
  std::uint32_t bucket = 0;
  while (rank >= histogram[bucket]) rank -= histogram[bucket++];
  return bucket;
}

/// The threshold that prunes `pruned` of `keys`, 0 < pruned <= keys, all within `range`: one histogram, then
/// the few in one bucket of it.
inline Threshold threshold_of(const std::vector<std::int32_t>& keys, std::int64_t pruned, Range range) {
  int shift = 0;
  while ((std::int64_t{range.high} - range.low) >> shift >= 4096) ++shift;
  const auto bucket_of = [&](std::int32_t key) {
    return (static_cast<std::uint32_t>(key) - static_cast<std::uint32_t>(range.low)) >> shift;
  };
  Histogram histogram(4096, 0);
  for (const auto key : keys) ++histogram[bucket_of(key)];
  std::int64_t rank = pruned - 1;
  const auto bucket = find_bucket(histogram, rank);
  std::vector<std::int32_t> few;
  few.reserve(static_cast<std::size_t>(histogram[bucket]));
  for (const auto key : keys)
    if (bucket_of(key) == bucket) few.push_back(key);
  std::nth_element(few.begin(), few.begin() + rank, few.end());
  const auto key = few[static_cast<std::size_t>(rank)];
  return {key, rank + 1 - std::count_if(few.begin(), few.end(), [&](auto other) { return other < key; })};
}

// Keys as unsigned integers in the same order, for histograms of their upper and lower halves.
inline std::uint32_t unsigned_key(std::int32_t key) { return static_cast<std::uint32_t>(key) ^ 0x80000000U; }

/// Counts over all spans the `digit` (a bucket, or -1) of every key.
template <class Order, class Digit>
Histogram count_digits(const Spans& spans, const Digit& digit) {
  Histogram total(1 << 16, 0);
  for (const auto& span : spans)
    over_threads(span.count, [&](std::int64_t begin, std::int64_t end) {
      // Weights crowd into few exponents: counters of each thread's own avoid contention.
      std::vector<std::uint32_t> own(total.size(), 0);
      for (std::int64_t i = begin; i < end; ++i) {
        const std::int64_t bucket = digit(unsigned_key(Order::key(span.values[i])));
        if (bucket >= 0) ++own[static_cast<std::size_t>(bucket)];
      }
#pragma omp critical(sparsify_count_digits)
      for (std::size_t b = 0; b < total.size(); ++b) total[b] += own[b];
    });
  return total;
}

/// The threshold that prunes `pruned` of all values together, 0 < pruned <= their number, whatever they are:
/// a radix selection with two digits of 16 bits.
template <class Order>
Threshold radix_threshold(const Spans& spans, std::int64_t pruned) {
  std::int64_t rank = pruned - 1;
  const auto high = count_digits<Order>(spans, [](std::uint32_t key) { return std::int64_t{key >> 16}; });
  const auto top = find_bucket(high, rank);
  const auto low = count_digits<Order>(spans, [top](std::uint32_t key) {
    return key >> 16 == top ? std::int64_t{key & 0xffffU} : std::int64_t{-1};
  });
  const auto key = top << 16 | find_bucket(low, rank);
  return {static_cast<std::int32_t>(key ^ 0x80000000U), rank + 1};
}

/// Writes the masks that a threshold means; of equal keys the first go, in the order of spans and memory.
template <class Order>
void write_masks(const Spans& spans, Threshold threshold) {
  for (const auto& span : spans) {
    const auto parts = threads_for(span.count);
    std::vector<std::int64_t> equal(static_cast<std::size_t>(parts), 0), first(equal), last(equal);
    over_parts(parts, span.count, [&](std::int64_t part, std::int64_t begin, std::int64_t end) {
      std::int64_t found = 0;
      for (std::int64_t i = begin; i < end; ++i) {
        const auto key = Order::key(span.values[i]);
        span.keep[i] = key > threshold.key;
        found += key == threshold.key;
      }
      const auto p = static_cast<std::size_t>(part);
      equal[p] = found, first[p] = begin, last[p] = end;
    });
    for (std::size_t p = 0; p < equal.size(); ++p) {
      const auto pruned = std::min(equal[p], threshold.ties);
      threshold.ties -= pruned;
      std::int64_t left = equal[p] - pruned;  // ties are kept from the back of the part
      for (std::int64_t i = last[p] - 1; left > 0; --i)
        if (Order::key(span.values[i]) == threshold.key) span.keep[i] = true, --left;
    }
  }
}

}  // namespace detail
}  // namespace sparsify
