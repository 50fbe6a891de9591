// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <string>

#include "sparsify/error.hpp"

namespace sparsify {

/// How a value moves from its first to its last: `linear`, `cubic` (Zhu & Gupta 2017, arXiv 1710.01878) or
/// `inverse_cubic`.
enum class Interpolation { kLinear, kCubic, kInverseCubic };

inline Interpolation parse_interpolation(const std::string& name) {
  if (name == "linear") return Interpolation::kLinear;
  if (name == "cubic") return Interpolation::kCubic;
  if (name == "inverse_cubic") return Interpolation::kInverseCubic;
  throw InvalidField("inter_func", "expected linear, cubic or inverse_cubic, got '" + name + "'");
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
