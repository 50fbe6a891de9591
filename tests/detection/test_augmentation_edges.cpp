// SPDX-License-Identifier: Apache-2.0
// Views of images that are read at a part of their size, cut off by others, or lie behind the horizon.
#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>

#include "detection/augment.hpp"
#include "memory_objects.hpp"

using namespace sparsify::detection;
using namespace detection_test;
using Catch::Approx;
using sparsify::trainers::CounterRng;

namespace {

GroundTruth found_in(const View& view, std::int64_t label, std::int64_t side) {
  return drawn_box(side, side, label, [&](std::int64_t y, std::int64_t x, std::int64_t c) {
    return view.rgb[static_cast<std::size_t>((y * side + x) * 3 + c)];
  });
}

void add_four_shapes(MemoryObjects& images) {
  images.add(120, 160, {{20, 32, 100, 88, 0}});
  images.add(160, 120, {{12, 40, 88, 132, 1}});
  images.add(80, 80, {{16, 24, 60, 56, 2}});
  images.add(100, 300, {{92, 20, 220, 88, 3}});
}

}  // namespace

TEST_CASE("boxes of a mosaic fit their pixels wherever its centre is, cut off by its edges or not") {
  for (const std::int64_t divisor : {1, 2, 4}) {
    ReducedObjects images(divisor);
    add_four_shapes(images);
    for (const double x : {80.0, 133.3, 170.0, 240.0})
      for (const double y : {80.0, 150.0, 201.7, 240.0}) {
        INFO("centre " << x << ", " << y << ", read at 1/" << divisor);
        const auto view = view_of(mosaic(images, {0, 1, 2, 3}, 160, x, y), Homography{}, 320, 1);
        CHECK(view.objects.size() >= 3);
        for (const auto& object : view.objects)
          CHECK(apart(object, found_in(view, object.label, 320)) < 1.5F);
      }
  }
}

TEST_CASE("the images of a mosaic are as large as the side allows and touch its centre with a corner") {
  MemoryObjects images;
  add_four_shapes(images);
  const auto scene = mosaic(images, {0, 1, 2, 3}, 160, 170, 150);
  REQUIRE(scene.tiles.size() == 4);
  const auto covers = [&](std::size_t i, double x1, double y1, double x2, double y2) {
    const auto& tile = scene.tiles[i];
    CHECK(tile.x1 == Approx(x1));
    CHECK(tile.y1 == Approx(y1));
    CHECK(tile.x2 == Approx(x2));
    CHECK(tile.y2 == Approx(y2));
  };
  covers(0, 10, 30, 170, 150);
  covers(1, 170, 0, 290, 150);  // 10 rows lie beyond the canvas
  covers(2, 10, 150, 170, 310);
  covers(3, 170, 150, 320, 150 + 160.0 / 3);  // 10 columns
}

TEST_CASE("an image alone that is read at a part of its size") {
  ReducedObjects images(4);
  images.add(480, 640, {{80, 120, 400, 360, 0}});
  const auto plain = view_of(alone(images, 0, 160), Homography{}, 160, 1);
  CHECK(apart(plain.objects.at(0), {20, 50, 100, 110, 0}) < 1e-3F);
  CHECK(apart(found_in(plain, 0, 160), {20, 50, 100, 110, 0}) == 0);
  const auto larger = Homography::shift(-100, -100) * Homography::scale(2.3, 1.7);
  const auto view = view_of(alone(images, 0, 160), larger, 160, 2.3 * 1.7);
  CHECK(apart(view.objects.at(0), found_in(view, 0, 160)) < 1.5F);
}

TEST_CASE("what lies behind the horizon of a strong perspective is neither shown nor an object") {
  MemoryObjects images;
  images.add(100, 100, {{60, 10, 90, 40, 0}, {10, 10, 30, 40, 1}});
  // From x = 70 on the denominator is not positive.
  const Homography map{{1, 0, 0, 0, 1, 0, -1.0 / 70, 0, 1}};
  const auto view = view_of(alone(images, 0, 100), map, 100, 1);
  REQUIRE(view.objects.size() == 1);
  CHECK(view.objects[0].label == 1);
  // Moved so that what is mapped from behind the horizon, x' below -233 and negative y', comes into the view.
  const auto behind = view_of(alone(images, 0, 100), Homography::shift(300, 200) * map, 100, 1);
  CHECK(behind.objects.empty());
  CHECK(std::all_of(behind.rgb.begin(), behind.rgb.end(), [](std::uint8_t value) { return value == 114; }));
}

TEST_CASE("augmentation takes everything random from its random numbers") {
  MemoryObjects images;
  add_four_shapes(images);
  Hyperparameters hyp;
  hyp.degrees = 20, hyp.shear = 5, hyp.perspective = 2e-4, hyp.flipud = 0.5, hyp.mosaic = 0.5,
  hyp.mixup = 0.5;
  for (std::uint64_t sample = 0; sample < 6; ++sample) {
    CounterRng rng(7, 1, sample), again(7, 1, sample), other(7, 1, sample + 1);
    const auto view = augmented(images, 0, 96, hyp, rng), second = augmented(images, 0, 96, hyp, again);
    CHECK(view.rgb == second.rgb);
    CHECK(rng.next() == again.next());
    REQUIRE(view.objects.size() == second.objects.size());
    for (std::size_t i = 0; i < view.objects.size(); ++i)
      CHECK(apart(view.objects[i], second.objects[i]) == 0);
    CHECK(augmented(images, 0, 96, hyp, other).rgb != view.rgb);
  }
}
