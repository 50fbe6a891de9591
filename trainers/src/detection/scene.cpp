// SPDX-License-Identifier: Apache-2.0
#include "detection/scene.hpp"

#include <algorithm>
#include <cmath>

#include "detection/grey.hpp"

namespace sparsify::detection {
namespace {

constexpr double kSmallest = 2, kLeastShown = 0.1, kLongest = 100;

const Tile* tile_at(const Scene& scene, double x, double y) {
  for (const auto& tile : scene.tiles)
    if (x >= tile.x1 && x < tile.x2 && y >= tile.y1 && y < tile.y2) return &tile;
  return nullptr;
}

// `x`, `y`: in pixels of the image, whose centres lie at halves. Edges repeat.
void sample(const trainers::Image& image, double x, double y, std::uint8_t* out) {
  const auto last_x = image.width() - 1, last_y = image.height() - 1;
  const double fx = std::clamp(x - 0.5, 0.0, static_cast<double>(last_x)),
               fy = std::clamp(y - 0.5, 0.0, static_cast<double>(last_y));
  const auto column = static_cast<std::int64_t>(fx), row = static_cast<std::int64_t>(fy);
  // In 1/256 of a pixel: 8-bit results need no more.
  const int right = static_cast<int>((fx - static_cast<double>(column)) * 256),
            down = static_cast<int>((fy - static_cast<double>(row)) * 256);
  const auto* above = image.pixel(row, column);
  const auto* below = image.pixel(std::min(row + 1, last_y), column);
  const int next = column < last_x ? 3 : 0;
  for (int c = 0; c < 3; ++c) {
    const int upper = above[c] * (256 - right) + above[c + next] * right;
    const int lower = below[c] * (256 - right) + below[c + next] * right;
    out[c] = static_cast<std::uint8_t>((upper * (256 - down) + lower * down + 32768) >> 16);
  }
}

GroundTruth around(const GroundTruth& box, const Homography& map) {
  const Point corners[] = {map(box.x1, box.y1), map(box.x2, box.y1), map(box.x1, box.y2),
                           map(box.x2, box.y2)};
  double x1 = corners[0].x, x2 = x1, y1 = corners[0].y, y2 = y1;
  for (const auto& corner : corners) {
    x1 = std::min(x1, corner.x), x2 = std::max(x2, corner.x);
    y1 = std::min(y1, corner.y), y2 = std::max(y2, corner.y);
  }
  return {static_cast<float>(x1), static_cast<float>(y1), static_cast<float>(x2), static_cast<float>(y2),
          box.label};
}

GroundTruth clipped(GroundTruth box, double x1, double y1, double x2, double y2) {
  const auto within = [](float value, double low, double high) {
    return std::clamp(value, static_cast<float>(low), static_cast<float>(high));
  };
  box.x1 = within(box.x1, x1, x2), box.x2 = within(box.x2, x1, x2);
  box.y1 = within(box.y1, y1, y2), box.y2 = within(box.y2, y1, y2);
  return box;
}

bool is_worth_keeping(const GroundTruth& box, double whole_area) {
  const double width = box.x2 - box.x1, height = box.y2 - box.y1;
  if (width <= kSmallest || height <= kSmallest) return false;
  return width * height > kLeastShown * whole_area && width / height < kLongest && height / width < kLongest;
}

bool is_in_front(const GroundTruth& box, const Homography& to_view) {
  return to_view.depth(box.x1, box.y1) > 0 && to_view.depth(box.x2, box.y1) > 0 &&
         to_view.depth(box.x1, box.y2) > 0 && to_view.depth(box.x2, box.y2) > 0;
}

void add_objects(const Tile& tile, const Homography& to_view, double side, double area_scale,
                 std::vector<GroundTruth>& objects) {
  const auto to_canvas = Homography::shift(tile.left, tile.top) * Homography::scale(tile.scale, tile.scale);
  for (const auto& object : tile.objects) {
    const auto shown = clipped(around(object, to_canvas), tile.x1, tile.y1, tile.x2, tile.y2);
    if (!is_in_front(shown, to_view)) continue;
    const double area = (shown.x2 - shown.x1) * (shown.y2 - shown.y1) * area_scale;
    const auto box = clipped(around(shown, to_view), 0, 0, side, side);
    if (area > 0 && is_worth_keeping(box, area)) objects.push_back(box);
  }
}

}  // namespace

View view_of(const Scene& scene, const Homography& to_view, std::int64_t side, double area_scale) {
  View view;
  view.rgb.resize(static_cast<std::size_t>(side * side * 3), kGrey);
  const auto to_canvas = to_view.inverse();
  auto* out = view.rgb.data();
  for (std::int64_t row = 0; row < side; ++row)
    for (std::int64_t column = 0; column < side; ++column, out += 3) {
      const auto at = to_canvas(static_cast<double>(column) + 0.5, static_cast<double>(row) + 0.5);
      if (const auto* tile = tile_at(scene, at.x, at.y); tile && to_view.depth(at.x, at.y) > 0)
        sample(tile->image, (at.x - tile->left) * tile->shrunk_x, (at.y - tile->top) * tile->shrunk_y, out);
    }
  for (const auto& tile : scene.tiles)
    add_objects(tile, to_view, static_cast<double>(side), area_scale, view.objects);
  return view;
}

}  // namespace sparsify::detection
