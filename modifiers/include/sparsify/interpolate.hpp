// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <string>

#include "sparsify/limits.hpp"

namespace sparsify {

/// How a value moves from its first to its last: `linear`, `cubic` (Zhu & Gupta 2017, arXiv 1710.01878) or
/// `inverse_cubic`.
enum class Interpolation { kLinear, kCubic, kInverseCubic };

/// What `inter_func` may be.
inline const Choices<Interpolation>& interpolations() {
  static const Choices<Interpolation> choices = {{"linear", Interpolation::kLinear},
                                                 {"cubic", Interpolation::kCubic},
                                                 {"inverse_cubic", Interpolation::kInverseCubic}};
  return choices;
}

/// The value between `first` and `last` at `progress` in [0, 1]; exact at both ends.
inline double interpolate(Interpolation how, double first, double last, double progress) {
  if (progress <= 0) return first;
  if (progress >= 1) return last;
  const double rest = 1 - progress;
  double y = progress;
  if (how == Interpolation::kCubic) y = 1 - rest * rest * rest;
  if (how == Interpolation::kInverseCubic) y = 1 - std::cbrt(rest);
  return first + y * (last - first);
}

}  // namespace sparsify
