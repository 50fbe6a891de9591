// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>

namespace sparsify::detection {

struct Point {
  double x = 0, y = 0;
};

/// A projective map of the plane, 3 x 3 in row order.
struct Homography {
  std::array<double, 9> m{1, 0, 0, 0, 1, 0, 0, 0, 1};

  static Homography scale(double x, double y) { return {{x, 0, 0, 0, y, 0, 0, 0, 1}}; }
  static Homography shift(double x, double y) { return {{1, 0, x, 0, 1, y, 0, 0, 1}}; }

  Point operator()(double x, double y) const {
    const double w = depth(x, y);
    return {(m[0] * x + m[1] * y + m[2]) / w, (m[3] * x + m[4] * y + m[5]) / w};
  }
  /// Positive for what the viewer has before him; points at and behind the horizon have no place in a view.
  double depth(double x, double y) const { return m[6] * x + m[7] * y + m[8]; }
  /// First `other`, then this.
  Homography operator*(const Homography& other) const {
    Homography product;
    for (int row = 0; row < 3; ++row)
      for (int column = 0; column < 3; ++column) {
        double sum = 0;
        for (int k = 0; k < 3; ++k) sum += m[row * 3 + k] * other.m[k * 3 + column];
        product.m[row * 3 + column] = sum;
      }
    return product;
  }
  /// Up to a factor, which maps of points do not see.
  Homography inverse() const {
    const auto& [a, b, c, d, e, f, g, h, i] = m;
    return {{e * i - f * h, c * h - b * i, b * f - c * e, f * g - d * i, a * i - c * g, c * d - a * f,
             d * h - e * g, b * g - a * h, a * e - b * d}};
  }
};

}  // namespace sparsify::detection
