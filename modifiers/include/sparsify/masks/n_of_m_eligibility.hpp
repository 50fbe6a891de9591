// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "sparsify/limits.hpp"
#include "sparsify/masks/n_of_m.hpp"
#include "sparsify/parameters.hpp"

namespace sparsify {

/// Which layers N:M is for: those that sparse kernels can use.
struct NofMEligibility {
  bool exclude_grouped = true;
  std::int64_t min_channels = 16;

  template <class Visitor>
  void fields(Visitor& visit) {
    visit("exclude_grouped", exclude_grouped,
          "N:M: leave grouped convolutions dense, as GPUs have no sparse kernel for them");
    visit("min_channels", min_channels,
          "N:M: leave layers with fewer input channels dense, as they are too narrow to gain", at_least(1));
  }

  /// Why a weight stays dense; empty when it need not.
  std::string why_not(const Parameter& parameter, NofM pattern) const {
    const auto channels = parameter.tensor.dim() >= 2 ? parameter.tensor.size(1) : 0;
    if (channels == 0) return "it has no input channels";
    if (exclude_grouped && parameter.groups > 1) return "a grouped convolution";
    if (channels % pattern.m != 0)
      return std::to_string(channels) + " input channels are not a multiple of " + std::to_string(pattern.m);
    if (channels < min_channels) return "fewer than " + std::to_string(min_channels) + " input channels";
    return "";
  }
};

}  // namespace sparsify
