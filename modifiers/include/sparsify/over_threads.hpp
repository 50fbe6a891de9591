// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/Parallel.h>
#include <omp.h>

#include <algorithm>
#include <cstdint>

namespace sparsify {
namespace detail {

/// How many threads `count` elements are worth; 1 inside a parallel region.
inline std::int64_t threads_for(std::int64_t count) {
  const std::int64_t wanted = omp_in_parallel() ? 1 : at::get_num_threads();
  return std::clamp<std::int64_t>(count / 16384, 1, wanted);
}

/// Splits [0, count) into `parts` shares, multiples of 64 elements, one thread each: `run(part, begin, end)`.
template <class Run>
void over_parts(std::int64_t parts, std::int64_t count, const Run& run) {
  const std::int64_t share = (count / parts + 63) / 64 * 64;
#pragma omp parallel for schedule(static) num_threads(static_cast<int>(parts)) if (parts > 1)
  for (std::int64_t part = 0; part < parts; ++part) {
    const std::int64_t begin = std::min(count, part * share),
                       end = part + 1 == parts ? count : std::min(count, begin + share);
    if (begin < end) run(part, begin, end);
  }
}

/// The same with as many threads as pay: `run(begin, end)`.
template <class Run>
void over_threads(std::int64_t count, const Run& run) {
  over_parts(threads_for(count), count,
             [&](std::int64_t, std::int64_t begin, std::int64_t end) { run(begin, end); });
}

}  // namespace detail
}  // namespace sparsify
