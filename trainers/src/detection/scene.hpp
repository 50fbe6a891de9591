// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "detection/homography.hpp"
#include "sparsify/detection/dataset.hpp"

namespace sparsify::detection {

/// An image placed on a canvas. It shows within its rectangle only.
struct Tile {
  trainers::Image image;                  ///< may be smaller than the whole image
  double scale = 1;                       ///< canvas pixels per pixel of the whole image
  double left = 0, top = 0;               ///< of the whole image on the canvas
  double shrunk_x = 1, shrunk_y = 1;      ///< pixels of `image` per canvas pixel
  double x1 = 0, y1 = 0, x2 = 0, y2 = 0;  ///< the rectangle on the canvas
  std::vector<GroundTruth> objects{};     ///< in pixels of the whole image
};

/// Images side by side on a canvas that is never drawn as a whole: what a view of it shows is sampled from
/// them.
struct Scene {
  std::vector<Tile> tiles{};
  double width = 0, height = 0;
};

/// What a view shows: 8-bit RGB and the objects in it, in its pixels.
struct View {
  std::vector<std::uint8_t> rgb{};
  std::vector<GroundTruth> objects{};
};

/// `to_view` maps the canvas to a view of side x side pixels; bilinear, grey (114) where there is no image.
/// Objects keep the box around their four corners, clipped; those that are less than 2 pixels wide or high,
/// show less than a tenth of their area, are 100 times as long as wide, or reach behind the horizon are left
/// out. `area_scale`: by what `to_view` enlarges areas.
View view_of(const Scene& scene, const Homography& to_view, std::int64_t side, double area_scale);

}  // namespace sparsify::detection
