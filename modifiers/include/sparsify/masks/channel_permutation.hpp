// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <numeric>
#include <tuple>
#include <vector>

#include "sparsify/isa.hpp"
#include "sparsify/masks/n_of_m.hpp"

// Which order of input channels lets N:M keep most (Pool and Yu, "Channel Permutations for N:M Sparsity",
// NeurIPS 2021)? Channels of different groups are swapped as long as that gains.

namespace sparsify {
namespace detail {

/// Of `m` magnitudes: the sum of the n largest, the n-th and the (n+1)-th.
struct Largest {
  float sum, nth, next;
};
inline Largest largest_of(float* values, std::int64_t n, std::int64_t m) {
  for (std::int64_t i = 1; i < m; ++i)
    for (std::int64_t j = i; j > 0 && values[j] > values[j - 1]; --j) std::swap(values[j], values[j - 1]);
  float sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += values[i];
  return {sum, values[n - 1], values[n]};
}

// sums[k] = sum over r of max(thresholds[k][r], values[r]).
__attribute__((always_inline)) inline void sums_of_maxima_loop(const float* const* thresholds,
                                                               const float* values, std::int64_t count,
                                                               float* sums) {
  const float *a = thresholds[0], *b = thresholds[1], *c = thresholds[2], *d = thresholds[3];
  float of_a = 0, of_b = 0, of_c = 0, of_d = 0;
#pragma omp simd reduction(+ : of_a, of_b, of_c, of_d)
  for (std::int64_t r = 0; r < count; ++r) {
    const float value = values[r];
    of_a += a[r] > value ? a[r] : value;
    of_b += b[r] > value ? b[r] : value;
    of_c += c[r] > value ? c[r] : value;
    of_d += d[r] > value ? d[r] : value;
  }
  sums[0] = of_a, sums[1] = of_b, sums[2] = of_c, sums[3] = of_d;
}

inline void sums_of_maxima(const float* const* thresholds, const float* values, std::int64_t count,
                           float* sums) {
  run_best([&]() __attribute__((always_inline)) { sums_of_maxima_loop(thresholds, values, count, sums); });
}

/// The search on one matrix of magnitudes [channels, rows]: float, contiguous.
class ChannelSwaps {
 public:
  ChannelSwaps(const at::Tensor& magnitudes, NofM pattern)
      : channels_(magnitudes.size(0)),
        rows_(magnitudes.size(1)),
        pattern_(pattern),
        values_(magnitudes.const_data_ptr<float>()),
        kept_(static_cast<std::size_t>(channels_ * channels_)),
        order_(static_cast<std::size_t>(channels_)) {
    std::iota(order_.begin(), order_.end(), 0);
  }

  /// Swaps until nothing gains, or `work` comparisons are spent. Position p then holds channel result[p].
  std::vector<std::int64_t> run(double work) {
    std::vector<std::int64_t> touched(static_cast<std::size_t>(channels_ / pattern_.m));
    std::iota(touched.begin(), touched.end(), 0);
    while (!touched.empty()) {
      work -= static_cast<double>(touched.size()) * pattern_.m * channels_ * rows_;
      if (work < 0) break;
#pragma omp parallel for schedule(dynamic)
      for (std::size_t i = 0; i < touched.size(); ++i) price(touched[i]);
      touched = swap_the_best();
    }
    return order_;
  }

 private:
  static constexpr std::int64_t kChunk = 512;  // rows whose thresholds stay in the first-level cache
  static constexpr double kLeastGain = 1e-5;   // of what two groups keep: above the error of float sums

  struct Swap {
    double gain;
    std::int64_t first, second;  // positions
    bool operator<(const Swap& other) const {
      return std::tie(other.gain, first, second) < std::tie(gain, other.first, other.second);
    }
  };

  double& kept(std::int64_t out, std::int64_t in) {
    return kept_[static_cast<std::size_t>(out * channels_ + in)];
  }
  double kept(std::int64_t out, std::int64_t in) const {
    return kept_[static_cast<std::size_t>(out * channels_ + in)];
  }

  // For each channel of a group and every channel of the layer: what the group keeps when the second takes
  // the place of the first. Without the first, a row keeps its n - 1 largest, and the n-th or the newcomer.
  void price(std::int64_t group) {
    const auto m = pattern_.m;
    const auto* members = order_.data() + group * m;
    std::vector<float> thresholds(static_cast<std::size_t>((m + 3) / 4 * 4 * kChunk)), values(m);
    for (std::int64_t i = 0; i < m; ++i) std::fill_n(&kept(members[i], 0), channels_, 0.0);
    for (std::int64_t begin = 0; begin < rows_; begin += kChunk) {
      const auto count = std::min(kChunk, rows_ - begin);
      std::vector<double> certain(m, 0.0);  // what the n - 1 largest of the others give
      for (std::int64_t r = 0; r < count; ++r) {
        for (std::int64_t i = 0; i < m; ++i) values[i] = values_[members[i] * rows_ + begin + r];
        const auto largest = largest_of(values.data(), pattern_.n, m);
        for (std::int64_t i = 0; i < m; ++i) {
          const float own = values_[members[i] * rows_ + begin + r];
          const bool is_kept = own >= largest.nth;
          certain[i] += largest.sum - (is_kept ? own : largest.nth);
          thresholds[i * kChunk + r] = is_kept ? largest.next : largest.nth;
        }
      }
      for (std::int64_t i = 0; i < m; i += 4) {
        const float* four[4];
        for (std::int64_t k = 0; k < 4; ++k) four[k] = thresholds.data() + (i + k) * kChunk;
        for (std::int64_t in = 0; in < channels_; ++in) {
          float sums[4];
          sums_of_maxima(four, values_ + in * rows_ + begin, count, sums);
          for (std::int64_t k = 0; k < std::min<std::int64_t>(4, m - i); ++k)
            kept(members[i + k], in) += certain[i + k] + sums[k];
        }
      }
    }
  }

  double gain(std::int64_t a, std::int64_t b) const {
    return kept(a, b) + kept(b, a) - kept(a, a) - kept(b, b);
  }

  // The best swap between two groups.
  Swap best_between(std::int64_t first, std::int64_t second) const {
    Swap best{0, 0, 0};
    for (std::int64_t i = first * pattern_.m; i < (first + 1) * pattern_.m; ++i)
      for (std::int64_t j = second * pattern_.m; j < (second + 1) * pattern_.m; ++j)
        if (const double value = gain(order_[i], order_[j]); value > best.gain) best = {value, i, j};
    const auto a = order_[first * pattern_.m], b = order_[second * pattern_.m];
    return best.gain > kLeastGain * (kept(a, a) + kept(b, b)) ? best : Swap{0, 0, 0};
  }

  // Makes the best swaps, at most one for each group, and returns the groups that changed.
  std::vector<std::int64_t> swap_the_best() {
    const auto groups = channels_ / pattern_.m;
    std::vector<Swap> swaps;
    for (std::int64_t first = 0; first < groups; ++first)
      for (std::int64_t second = first + 1; second < groups; ++second)
        if (const auto best = best_between(first, second); best.gain > 0) swaps.push_back(best);
    std::sort(swaps.begin(), swaps.end());
    std::vector<bool> is_touched(static_cast<std::size_t>(groups), false);
    std::vector<std::int64_t> touched;
    for (const auto& swap : swaps) {
      const auto first = swap.first / pattern_.m, second = swap.second / pattern_.m;
      if (is_touched[first] || is_touched[second]) continue;
      is_touched[first] = is_touched[second] = true;
      touched.insert(touched.end(), {first, second});
      std::swap(order_[swap.first], order_[swap.second]);
    }
    return touched;
  }

  std::int64_t channels_, rows_;
  NofM pattern_;
  const float* values_;
  std::vector<double> kept_;
  std::vector<std::int64_t> order_;
};

}  // namespace detail

/// What N:M keeps of magnitudes [channels, rows] when channels stand in this order.
inline double kept_magnitude(const at::Tensor& magnitudes, const std::vector<std::int64_t>& order,
                             NofM pattern) {
  const auto values = magnitudes.to(at::kFloat).contiguous();
  const auto* data = values.const_data_ptr<float>();
  const auto rows = values.size(1), groups = values.size(0) / pattern.m;
  double kept = 0;
#pragma omp parallel for reduction(+ : kept)
  for (std::int64_t group = 0; group < groups; ++group) {
    std::vector<float> of_group(pattern.m);
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t i = 0; i < pattern.m; ++i)
        of_group[i] = data[order[group * pattern.m + i] * rows + r];
      kept += detail::largest_of(of_group.data(), pattern.n, pattern.m).sum;
    }
  }
  return kept;
}

/// An order of channels in which N:M keeps more of `magnitudes` [channels, rows]: position p takes channel
/// result[p]. Bounded by `work`, in comparisons of two numbers (a billion takes about a second on one core
/// without vectors); large matrices are searched on part of their rows. The result depends on nothing else.
/// It is the order as it is when none better was found.
inline std::vector<std::int64_t> better_channel_order(const at::Tensor& magnitudes, NofM pattern,
                                                      double work) {
  constexpr double kRounds = 4;  // how often at least all groups are priced
  auto values = magnitudes.to(at::kFloat).contiguous();
  const double channels = values.size(0), rows = values.size(1);
  const auto affordable = static_cast<std::int64_t>(work / (kRounds * channels * channels));
  if (affordable < values.size(1)) {
    const auto sample = at::arange(std::max<std::int64_t>(affordable, 1), at::kDouble)
                            .mul(rows / std::max<double>(affordable, 1))
                            .to(at::kLong);
    values = values.index_select(1, sample).contiguous();
  }
  auto order = detail::ChannelSwaps(values, pattern).run(work);
  std::vector<std::int64_t> as_it_is(order.size());
  std::iota(as_it_is.begin(), as_it_is.end(), 0);
  if (kept_magnitude(magnitudes, order, pattern) > kept_magnitude(magnitudes, as_it_is, pattern))
    return order;
  return as_it_is;
}

}  // namespace sparsify
