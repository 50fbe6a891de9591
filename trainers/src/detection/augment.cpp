// SPDX-License-Identifier: Apache-2.0
#include "detection/augment.hpp"

#include <algorithm>
#include <cmath>

namespace sparsify::detection {
namespace {

using trainers::CounterRng;

double between(CounterRng& rng, double low, double high) {
  return low + (high - low) * static_cast<double>(rng.uniform());
}
double around_1(CounterRng& rng, double reach) { return between(rng, 1 - reach, 1 + reach); }
double radians(double degrees) { return degrees * M_PI / 180; }

// A sum of exponentials, as the shape is a whole number.
double gamma(CounterRng& rng, int shape) {
  double sum = 0;
  for (int i = 0; i < shape; ++i) sum -= std::log(1 - static_cast<double>(rng.uniform()));
  return sum;
}

double beta(CounterRng& rng, int shape) {
  const double a = gamma(rng, shape), b = gamma(rng, shape);
  return a / (a + b);
}

// Placed by the corner nearest to its scene's centre; what lies beyond the rectangle does not show.
Tile tile_of(const DetectionDataset& images, std::int64_t index, std::int64_t side) {
  const auto size = images.image_size(index);
  Tile tile;
  tile.scale = static_cast<double>(side) / static_cast<double>(std::max(size.height, size.width));
  const auto shorter = static_cast<double>(std::min(size.height, size.width)) * tile.scale;
  tile.image = images.image(index, static_cast<std::int64_t>(std::ceil(shorter)));
  tile.shrunk_x = static_cast<double>(tile.image.width()) / (static_cast<double>(size.width) * tile.scale);
  tile.shrunk_y = static_cast<double>(tile.image.height()) / (static_cast<double>(size.height) * tile.scale);
  tile.objects = images.objects(index);
  return tile;
}

void place(Tile& tile, double left, double top, const ImageSize& size, double canvas) {
  tile.left = left, tile.top = top;
  tile.x1 = std::max(0.0, left), tile.y1 = std::max(0.0, top);
  tile.x2 = std::min(canvas, left + static_cast<double>(size.width) * tile.scale);
  tile.y2 = std::min(canvas, top + static_cast<double>(size.height) * tile.scale);
}

Homography rotation(double angle, double scale) {
  const double c = scale * std::cos(angle), s = scale * std::sin(angle);
  return {{c, s, 0, -s, c, 0, 0, 0, 1}};
}

struct Perspective {
  Homography map;
  double area_scale = 1;
};

Perspective random_perspective(const Scene& scene, double side, const Hyperparameters& hyp, CounterRng& rng) {
  const auto centred = Homography::shift(-scene.width / 2, -scene.height / 2);
  const auto warp = Homography{{1, 0, 0, 0, 1, 0, between(rng, -hyp.perspective, hyp.perspective),
                                between(rng, -hyp.perspective, hyp.perspective), 1}};
  const double scale = around_1(rng, hyp.scale);
  const auto turn = rotation(radians(between(rng, -hyp.degrees, hyp.degrees)), scale);
  const auto lean = Homography{{1, std::tan(radians(between(rng, -hyp.shear, hyp.shear))), 0,
                                std::tan(radians(between(rng, -hyp.shear, hyp.shear))), 1, 0, 0, 0, 1}};
  const double across = between(rng, 0.5 - hyp.translate, 0.5 + hyp.translate) * side;
  const double down = between(rng, 0.5 - hyp.translate, 0.5 + hyp.translate) * side;
  const auto moved = Homography::shift(across, down);
  auto map = moved * lean * turn * warp * centred;
  if (rng.chance(static_cast<float>(hyp.fliplr)))
    map = Homography::shift(side, 0) * Homography::scale(-1, 1) * map;
  if (rng.chance(static_cast<float>(hyp.flipud)))
    map = Homography::shift(0, side) * Homography::scale(1, -1) * map;
  return {map, scale * scale};
}

Scene random_mosaic(const DetectionDataset& images, std::int64_t index, std::int64_t side, CounterRng& rng) {
  const std::int64_t indices[4] = {index, rng.below(images.size()), rng.below(images.size()),
                                   rng.below(images.size())};
  const auto s = static_cast<double>(side);
  const double x = between(rng, s / 2, 1.5 * s), y = between(rng, s / 2, 1.5 * s);
  return mosaic(images, indices, side, x, y);
}

View in_perspective(const Scene& scene, std::int64_t side, const Hyperparameters& hyp, CounterRng& rng) {
  const auto perspective = random_perspective(scene, static_cast<double>(side), hyp, rng);
  return view_of(scene, perspective.map, side, perspective.area_scale);
}

void mix_in(View& view, const View& other, double share) {
  const int weight = static_cast<int>(std::lround(share * 256));
  for (std::size_t i = 0; i < view.rgb.size(); ++i)
    view.rgb[i] =
        static_cast<std::uint8_t>((view.rgb[i] * weight + other.rgb[i] * (256 - weight) + 128) >> 8);
  view.objects.insert(view.objects.end(), other.objects.begin(), other.objects.end());
}

}  // namespace

Scene mosaic(const DetectionDataset& images, const std::int64_t (&indices)[4], std::int64_t side,
             double centre_x, double centre_y) {
  Scene scene;
  scene.width = scene.height = 2 * static_cast<double>(side);
  for (int i = 0; i < 4; ++i) {
    auto tile = tile_of(images, indices[i], side);
    const auto size = images.image_size(indices[i]);
    const double width = static_cast<double>(size.width) * tile.scale,
                 height = static_cast<double>(size.height) * tile.scale;
    place(tile, i % 2 == 0 ? centre_x - width : centre_x, i < 2 ? centre_y - height : centre_y, size,
          scene.width);
    scene.tiles.push_back(std::move(tile));
  }
  return scene;
}

Scene alone(const DetectionDataset& images, std::int64_t index, std::int64_t side) {
  Scene scene;
  scene.width = scene.height = static_cast<double>(side);
  auto tile = tile_of(images, index, side);
  const auto size = images.image_size(index);
  place(tile, (scene.width - static_cast<double>(size.width) * tile.scale) / 2,
        (scene.height - static_cast<double>(size.height) * tile.scale) / 2, size, scene.width);
  scene.tiles.push_back(std::move(tile));
  return scene;
}

View augmented(const DetectionDataset& images, std::int64_t index, std::int64_t side,
               const Hyperparameters& hyp, CounterRng& rng) {
  const bool is_mosaic = rng.chance(static_cast<float>(hyp.mosaic));
  auto view = in_perspective(is_mosaic ? random_mosaic(images, index, side, rng) : alone(images, index, side),
                             side, hyp, rng);
  if (is_mosaic && rng.chance(static_cast<float>(hyp.mixup))) {
    const auto other =
        in_perspective(random_mosaic(images, rng.below(images.size()), side, rng), side, hyp, rng);
    mix_in(view, other, beta(rng, 32));
  }
  if (hyp.hsv_h > 0 || hyp.hsv_s > 0 || hyp.hsv_v > 0) {
    const double hue = around_1(rng, hyp.hsv_h), saturation = around_1(rng, hyp.hsv_s),
                 value = around_1(rng, hyp.hsv_v);
    shift_colours(view.rgb.data(), side * side, hue, saturation, value);
  }
  return view;
}

}  // namespace sparsify::detection
