// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "sparsify/isa.hpp"
#include "sparsify/over_threads.hpp"
#include "sparsify/quantization/clip.hpp"
#include "sparsify/quantization/round_span.hpp"

// Batch norm, ReLU and rounding of an activation in one pass over memory after one that only reads, and the
// gradient of the three likewise. Rows are worked on in pieces that stay in the first cache.

namespace sparsify {
namespace detail {

/// An activation of four dimensions as rows of memory.
struct Rows {
  std::int64_t count = 0;
  std::int64_t length = 0;
  std::int64_t channels = 0;
  bool along = false;  ///< the channel changes along the row (channels_last); else a row is of one channel

  std::int64_t channel(std::int64_t row) const { return along ? 0 : row % channels; }
  std::int64_t values_per_channel() const { return count * length / channels; }
  std::int64_t bytes_of_marks() const { return bytes_of_bits(length); }  ///< every row begins a new byte
};

constexpr std::int64_t kPiece = 512;

/// Calls `act(begin, size)` for the pieces of a row.
template <class Act>
inline __attribute__((always_inline)) void over_pieces(std::int64_t length, const Act& act) {
  for (std::int64_t begin = 0; begin < length; begin += kPiece) act(begin, std::min(kPiece, length - begin));
}

/// Per-channel numbers of a piece: one for each element, or one for all of them.
template <bool kAlong>
inline __attribute__((always_inline)) float of_channel(const float* values, std::int64_t i) {
  return values[kAlong ? i : 0];
}

/// Two sums for each channel, [first..., second...]: `add(row, first, second)` adds those of a row to floats,
/// which are added up in double precision before they lose digits. The result does not depend on timing.
template <class Add>
std::vector<double> sums_of_channels(const Rows& rows, const Add& add) {
  const std::int64_t channels = rows.channels, parts = threads_for(rows.count * rows.length);
  std::vector<std::vector<double>> of_parts(parts, std::vector<double>(2 * channels, 0));
  over_parts(parts, rows.count, [&](std::int64_t part, std::int64_t begin, std::int64_t end) {
    constexpr std::int64_t kFew = 32;
    auto& total = of_parts[part];
    std::vector<float> few(rows.along ? 2 * channels : 2, 0);
    const std::int64_t width = static_cast<std::int64_t>(few.size()) / 2;
    for (std::int64_t row = begin; row < end; ++row) {
      add(row, few.data(), few.data() + width);
      if (rows.along && (row - begin) % kFew != kFew - 1 && row + 1 < end) continue;
      for (std::int64_t c = 0; c < width; ++c) {
        total[rows.channel(row) + c] += few[c];
        total[channels + rows.channel(row) + c] += few[width + c];
      }
      std::fill(few.begin(), few.end(), 0.0f);
    }
  });
  auto sums = of_parts.front();
  for (std::int64_t part = 1; part < parts; ++part)
    for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += of_parts[part][i];
  return sums;
}

template <bool kAlong, class T>
inline __attribute__((always_inline)) void add_moments(const T* x, const float* shift, std::int64_t length,
                                                       float* sum, float* squares) {
  if (kAlong) {
#pragma omp simd
    for (std::int64_t i = 0; i < length; ++i) {
      const float value = widen(x[i]) - shift[i];
      sum[i] += value, squares[i] += value * value;
    }
    return;
  }
  float first = 0, second = 0;
#pragma omp simd reduction(+ : first, second)
  for (std::int64_t i = 0; i < length; ++i) {
    const float value = widen(x[i]) - *shift;
    first += value, second += value * value;
  }
  *sum += first, *squares += second;
}

/// Sums of x - shift and of its square for each channel; a shift near the mean keeps digits.
template <class T>
std::vector<double> moments(const T* x, const Rows& rows, const float* shift) {
  return sums_of_channels(rows, [&](std::int64_t row, float* sum, float* squares) {
    run_best([&]() __attribute__((always_inline)) {
      const T* in = x + row * rows.length;
      rows.along ? add_moments<true>(in, shift, rows.length, sum, squares)
                 : add_moments<false>(in, shift + rows.channel(row), rows.length, sum, squares);
    });
  });
}

/// What happens to a * x + b behind a batch norm.
struct Behind {
  Clip clip;
  bool rounds;
  RoundTo to;
};

template <bool kAlong, bool kRound, class T>
inline __attribute__((always_inline)) void normalise_piece(const T* in, T* out, std::uint8_t* marks,
                                                           std::int64_t count, const float* a, const float* b,
                                                           const Behind& behind, Extent& seen) {
  float values[kPiece];
  std::int32_t keep[kPiece];
  std::uint8_t flags[kPiece + 8];
  float low = seen.low, high = seen.high;
  const float lowest = behind.clip.lowest, highest = behind.clip.highest;
  const float scale = behind.to.scale, step = behind.to.step;
  const float first = behind.to.first, last = behind.to.last;
#pragma omp simd
  for (std::int64_t i = 0; i < count; ++i)
    values[i] = widen(in[i]) * of_channel<kAlong>(a, i) + of_channel<kAlong>(b, i);
#pragma omp simd reduction(min : low) reduction(max : high)
  for (std::int64_t i = 0; i < count; ++i) {
    const float floored = values[i] < lowest ? lowest : values[i];
    const float value = floored > highest ? highest : floored;
    keep[i] = (value > lowest) & (value < highest);
    if (kRound) {
      low = value < low ? value : low;
      high = value > high ? value : high;
      const float integer = __builtin_rintf(value / step);
      keep[i] &= (integer >= first) & (integer <= last);
      const float raised = integer < first ? first : integer;
      values[i] = (raised > last ? last : raised) * scale;
    } else {
      values[i] = value;
    }
  }
#pragma omp simd
  for (std::int64_t i = 0; i < count; ++i) narrow(values[i], out[i]);
#pragma omp simd
  for (std::int64_t i = 0; i < count; ++i) flags[i] = static_cast<std::uint8_t>(keep[i]);
  std::memset(flags + count, 0, 8);
  for (std::int64_t i = 0; i < count; i += 8) marks[i / 8] = pack(flags + i);
  seen.low = low, seen.high = high;
}

/// out = `behind` of a * x + b, and marks of where a gradient passes. Gives the extent of what was rounded.
template <class T>
Extent normalise(const T* x, T* out, std::uint8_t* marks, const Rows& rows, const float* a, const float* b,
                 const Behind& behind) {
  const auto parts = threads_for(rows.count * rows.length);
  std::vector<Extent> of_parts(parts);
  over_parts(parts, rows.count, [&](std::int64_t part, std::int64_t first_row, std::int64_t end) {
    Extent seen;
    run_best([&]() __attribute__((always_inline)) {
      for (std::int64_t row = first_row; row < end; ++row)
        over_pieces(rows.length, [&](std::int64_t begin, std::int64_t size) __attribute__((always_inline)) {
          const T* in = x + row * rows.length + begin;
          T* to = out + row * rows.length + begin;
          auto* bits = marks + row * rows.bytes_of_marks() + begin / 8;
          const auto at = rows.along ? begin : rows.channel(row);
          if (rows.along && behind.rounds)
            normalise_piece<true, true>(in, to, bits, size, a + at, b + at, behind, seen);
          else if (rows.along)
            normalise_piece<true, false>(in, to, bits, size, a + at, b + at, behind, seen);
          else if (behind.rounds)
            normalise_piece<false, true>(in, to, bits, size, a + at, b + at, behind, seen);
          else
            normalise_piece<false, false>(in, to, bits, size, a + at, b + at, behind, seen);
        });
    });
    of_parts[part] = seen;
  });
  Extent all;
  for (const auto& seen : of_parts) all.merge(seen);
  return all;
}

// The gradient where it passes, else 0.
template <class T>
inline __attribute__((always_inline)) void passed(const T* gradient, const std::uint8_t* marks,
                                                  std::int64_t count, float* out) {
  std::uint8_t flags[kPiece + 8];
  std::int32_t keep[kPiece];
  for (std::int64_t i = 0; i < count; i += 8) unpack(marks[i / 8], flags + i);
#pragma omp simd
  for (std::int64_t i = 0; i < count; ++i) keep[i] = flags[i];
#pragma omp simd
  for (std::int64_t i = 0; i < count; ++i) out[i] = widen(gradient[i]);
#pragma omp simd  // elements of one size a loop: compilers make wide code of that
  for (std::int64_t i = 0; i < count; ++i) out[i] = keep[i] ? out[i] : 0.0f;
}

template <bool kAlong, class T>
inline __attribute__((always_inline)) void add_products(const T* x, const float* g, const float* shift,
                                                        std::int64_t count, float* sum, float* products) {
  if (kAlong) {
#pragma omp simd
    for (std::int64_t i = 0; i < count; ++i) {
      sum[i] += g[i];
      products[i] += g[i] * (widen(x[i]) - shift[i]);
    }
    return;
  }
  float first = 0, second = 0;
#pragma omp simd reduction(+ : first, second)
  for (std::int64_t i = 0; i < count; ++i) first += g[i], second += g[i] * (widen(x[i]) - *shift);
  *sum += first, *products += second;
}

/// Sums of the gradient g that passes, and of g * (x - shift), for each channel.
template <class T>
std::vector<double> gradient_moments(const T* x, const T* gradient, const std::uint8_t* marks,
                                     const Rows& rows, const float* shift) {
  return sums_of_channels(rows, [&](std::int64_t row, float* sum, float* products) {
    run_best([&]() __attribute__((always_inline)) {
      over_pieces(rows.length, [&](std::int64_t begin, std::int64_t size) __attribute__((always_inline)) {
        float g[kPiece];
        const auto from = row * rows.length + begin;
        passed(gradient + from, marks + row * rows.bytes_of_marks() + begin / 8, size, g);
        rows.along ? add_products<true>(x + from, g, shift + begin, size, sum + begin, products + begin)
                   : add_products<false>(x + from, g, shift + rows.channel(row), size, sum, products);
      });
    });
  });
}

template <bool kAlong, class T>
inline __attribute__((always_inline)) void combine(const T* x, const float* g, T* out, std::int64_t count,
                                                   const float* a, const float* b, const float* c) {
#pragma omp simd
  for (std::int64_t i = 0; i < count; ++i)
    narrow(
        of_channel<kAlong>(a, i) * g[i] + of_channel<kAlong>(b, i) * widen(x[i]) + of_channel<kAlong>(c, i),
        out[i]);
}

/// out = a * g + b * x + c for each channel, where g is the gradient that passes.
template <class T>
void input_gradient(const T* x, const T* gradient, const std::uint8_t* marks, T* out, const Rows& rows,
                    const float* a, const float* b, const float* c) {
  over_parts(threads_for(rows.count * rows.length), rows.count,
             [&](std::int64_t, std::int64_t first_row, std::int64_t end) {
               run_best([&]() __attribute__((always_inline)) {
                 for (std::int64_t row = first_row; row < end; ++row)
                   over_pieces(rows.length, [&](std::int64_t begin,
                                                std::int64_t size) __attribute__((always_inline)) {
                     float g[kPiece];
                     const auto from = row * rows.length + begin, at = rows.along ? begin : rows.channel(row);
                     passed(gradient + from, marks + row * rows.bytes_of_marks() + begin / 8, size, g);
                     rows.along ? combine<true>(x + from, g, out + from, size, a + at, b + at, c + at)
                                : combine<false>(x + from, g, out + from, size, a + at, b + at, c + at);
                   });
               });
             });
}

}  // namespace detail
}  // namespace sparsify
