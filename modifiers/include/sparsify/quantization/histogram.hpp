// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "sparsify/quantization/fake_quantize.hpp"

namespace sparsify {

/// Counts of values in equal bins over [-reach, reach). The reach doubles when a value lies outside, and
/// pairs of bins are merged, so nothing seen is lost.
class Histogram {
 public:
  static constexpr std::int64_t kBins = 4096;

  Histogram() = default;
  Histogram(double reach, std::vector<std::int64_t> counts) : reach_(reach), counts_(std::move(counts)) {}

  /// The values of a tensor of any shape. One with infinite values is left out as a whole, as are single
  /// NaNs.
  void add(const at::Tensor& tensor) {
    const auto values = tensor.detach().to(at::kCPU, at::kFloat).contiguous();
    const auto extent = extent_of(values);
    if (extent.empty() || !std::isfinite(extent.low) || !std::isfinite(extent.high)) return;
    const double largest = std::max(-extent.low, extent.high);
    if (reach_ == 0) reach_ = largest > 0 ? std::exp2(std::floor(std::log2(largest)) + 1) : 1;
    while (largest >= reach_) widen();
    const double to_bin = kHalf / reach_;
    const auto* data = values.const_data_ptr<float>();
    for (std::int64_t i = 0; i < values.numel(); ++i)
      if (!std::isnan(data[i])) ++counts_[static_cast<std::size_t>(data[i] * to_bin + kHalf)];
  }

  double reach() const { return reach_; }
  double width() const { return reach_ / kHalf; }
  const std::vector<std::int64_t>& counts() const { return counts_; }
  /// The middle of a bin.
  double value(std::int64_t bin) const { return (static_cast<double>(bin) - kHalf + 0.5) * width(); }

 private:
  static constexpr double kHalf = kBins / 2.0;

  void widen() {
    std::vector<std::int64_t> merged(kBins, 0);
    for (std::int64_t i = 0; i < kBins; ++i) merged[kBins / 4 + i / 2] += counts_[i];
    counts_ = std::move(merged);
    reach_ *= 2;
  }

  double reach_ = 0;
  std::vector<std::int64_t> counts_ = std::vector<std::int64_t>(kBins, 0);
};

}  // namespace sparsify
