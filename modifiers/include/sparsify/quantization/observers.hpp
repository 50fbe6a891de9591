// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "sparsify/limits.hpp"
#include "sparsify/quantization/histogram.hpp"
#include "sparsify/quantization/plan.hpp"

// Which range an activation gets from what was seen of it. Compared in Wu et al. 2020, "Integer Quantization
// for Deep Learning Inference", arXiv 2004.09602, section 5.

namespace sparsify {

/// How ranges of activations are found; kLsq: a moving average to begin with, then by gradient.
enum class Observer { kMovingAverageMinMax, kMinMax, kPercentile, kMse, kEntropy, kLsq };

/// What `observer` may be.
inline const Choices<Observer>& observers() {
  static const Choices<Observer> choices = {{"moving_average_minmax", Observer::kMovingAverageMinMax},
                                            {"minmax", Observer::kMinMax},
                                            {"percentile", Observer::kPercentile},
                                            {"mse", Observer::kMse},
                                            {"entropy", Observer::kEntropy},
                                            {"lsq", Observer::kLsq}};
  return choices;
}
/// Throws InvalidField for an unknown name.
inline Observer parse_observer(const std::string& name) { return choose("observer", name, observers()); }

inline bool needs_histogram(Observer observer) {
  return observer == Observer::kPercentile || observer == Observer::kMse || observer == Observer::kEntropy;
}

/// Leaves the share 1 - `percentile` of all values outside at each end.
inline Extent percentile_range(const Histogram& seen, double percentile = 0.9999) {
  double all = 0;
  for (const auto count : seen.counts()) all += static_cast<double>(count);
  const double outside = (1 - percentile) * all;
  const auto count = [&](std::int64_t bin) { return static_cast<double>(seen.counts()[bin]); };
  std::int64_t first = 0, last = Histogram::kBins - 1;
  for (double sum = count(first); first < last && sum <= outside; sum += count(first)) ++first;
  for (double sum = count(last); last > first && sum <= outside; sum += count(last)) --last;
  const double half = seen.width() / 2;
  return {static_cast<float>(seen.value(first) - half), static_cast<float>(seen.value(last) + half)};
}

/// The range, a share of what was seen, whose grid moves values least: smallest sum of squared errors.
inline Extent mse_range(const Histogram& seen, const ActivationRange& range, bool non_negative) {
  constexpr int kSteps = 100, kSmallest = 20;  // percent of what was seen
  const auto all = percentile_range(seen, 1);
  Extent best = all;
  double least = std::numeric_limits<double>::infinity();
  for (int step = kSteps; step >= kSmallest; --step) {
    const float share = static_cast<float>(step) / kSteps;
    const Extent extent{all.low * share, all.high * share};
    const auto grid = make_grid(extent, range, non_negative);
    const double lowest = static_cast<double>(grid.lowest - grid.zero_point),
                 highest = static_cast<double>(grid.highest - grid.zero_point);
    double error = 0;
    for (std::int64_t bin = 0; bin < Histogram::kBins; ++bin) {
      if (seen.counts()[bin] == 0) continue;
      const double value = seen.value(bin);
      const double rounded = std::clamp(std::nearbyint(value / grid.scale), lowest, highest) * grid.scale;
      error += static_cast<double>(seen.counts()[bin]) * (value - rounded) * (value - rounded);
    }
    if (error < least) least = error, best = extent;
  }
  return best;
}

namespace detail {

// Kullback-Leibler divergence of magnitudes clipped behind `kept` bins from the same on `levels` levels.
inline double divergence(const std::vector<double>& magnitudes, std::size_t kept, std::size_t levels) {
  double clipped = 0, all = 0;
  for (std::size_t i = kept; i < magnitudes.size(); ++i) clipped += magnitudes[i];
  for (const double count : magnitudes) all += count;
  double sum = 0;
  for (std::size_t level = 0; level < levels; ++level) {
    const std::size_t begin = level * kept / levels, end = (level + 1) * kept / levels;
    double inside = 0;
    int used = 0;
    for (std::size_t i = begin; i < end; ++i) inside += magnitudes[i], used += magnitudes[i] > 0;
    for (std::size_t i = begin; i < end; ++i) {
      const double p = magnitudes[i] + (i + 1 == kept ? clipped : 0);
      if (p == 0) continue;
      const double q = used > 0 && magnitudes[i] > 0 ? inside / used : 1e-3;  // never nothing where p is
      sum += p / all * std::log(p / all * (all - clipped) / q);
    }
  }
  return sum;
}

}  // namespace detail

/// The range that keeps most of the values' distribution: least divergence between the clipped magnitudes and
/// the same on the grid's levels (Migacz, "8-bit Inference with TensorRT", GTC 2017).
inline Extent entropy_range(const Histogram& seen, bool non_negative) {
  constexpr std::size_t kHalf = Histogram::kBins / 2, kStep = 16;
  std::vector<double> magnitudes(kHalf, 0);
  for (std::size_t i = 0; i < kHalf; ++i)
    magnitudes[i] = static_cast<double>(seen.counts()[kHalf + i] + seen.counts()[kHalf - 1 - i]);
  magnitudes[0] = magnitudes[1];  // zeros are exact on every grid, and would outweigh all else behind a ReLU
  const std::size_t levels = non_negative ? 256 : 128;
  std::size_t best = kHalf;
  double least = std::numeric_limits<double>::infinity();
  for (std::size_t kept = levels; kept <= kHalf; kept += kStep)
    if (const double distance = detail::divergence(magnitudes, kept, levels); distance < least)
      least = distance, best = kept;
  const auto all = percentile_range(seen, 1);
  const auto reach = static_cast<float>(static_cast<double>(best) * seen.width());
  return {std::max(all.low, -reach), std::min(all.high, reach)};
}

/// The range that an observer with a histogram takes.
inline Extent range_of(Observer observer, const Histogram& seen, const ActivationQuantizer& quantizer) {
  if (observer == Observer::kPercentile) return percentile_range(seen);
  if (observer == Observer::kMse) return mse_range(seen, quantizer.range, quantizer.non_negative);
  return entropy_range(seen, quantizer.non_negative);
}

}  // namespace sparsify
