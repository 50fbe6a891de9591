// SPDX-License-Identifier: Apache-2.0
// Boxes go where the pixels of their objects go.
#include "pictures.hpp"

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <cmath>

#include "detection/augment.hpp"

using namespace sparsify::detection;
using namespace detection_test;
using Catch::Approx;
using sparsify::trainers::CounterRng;

namespace {

constexpr double kClose = 1.5;  // pixels

/// Four shapes; one object of a colour of its own each.
Pictures four_pictures() {
  return Pictures({{{120, 160}, {{20, 30, 100, 90, 0}}},
                   {{160, 120}, {{10, 40, 90, 130, 1}}},
                   {{80, 80}, {{16, 24, 60, 56, 2}}},
                   {{100, 300}, {{90, 20, 220, 90, 3}}}});
}

std::optional<GroundTruth> seen_in(const View& view, std::int64_t label, std::int64_t side) {
  return seen(label, side, side, [&](std::int64_t y, std::int64_t x, std::int64_t c) {
    return view.rgb[static_cast<std::size_t>((y * side + x) * 3 + c)];
  });
}

/// Every object of the view lies where its pixels are, and every colour that is seen has an object.
void check_boxes(const View& view, std::int64_t side, std::size_t count) {
  REQUIRE(view.rgb.size() == static_cast<std::size_t>(side * side * 3));
  CHECK(view.objects.size() == count);
  for (std::int64_t label = 0; label < 5; ++label) {
    const auto pixels = seen_in(view, label, side);
    const auto object = std::find_if(view.objects.begin(), view.objects.end(),
                                     [&](const GroundTruth& box) { return box.label == label; });
    INFO("class " << label);
    REQUIRE(pixels.has_value() == (object != view.objects.end()));
    if (!pixels) continue;
    INFO("pixels " << pixels->x1 << " " << pixels->y1 << " " << pixels->x2 << " " << pixels->y2 << ", box "
                   << object->x1 << " " << object->y1 << " " << object->x2 << " " << object->y2);
    CHECK(apart(*pixels, *object) < kClose);
  }
}

/// A map about the middle of a canvas of this side.
Homography about_middle(double side, const Homography& map) {
  return Homography::shift(side / 2, side / 2) * map * Homography::shift(-side / 2, -side / 2);
}

Homography turn(double degrees, double scale = 1) {
  const double c = scale * std::cos(degrees * M_PI / 180), s = scale * std::sin(degrees * M_PI / 180);
  return {{c, s, 0, -s, c, 0, 0, 0, 1}};
}

/// Picture 0 alone on a canvas of 320, seen through a map.
void check_alone(const Homography& map, double area_scale = 1) {
  const auto pictures = four_pictures();
  check_boxes(view_of(alone(pictures, 0, 320), about_middle(320, map), 320, area_scale), 320, 1);
}

}  // namespace

TEST_CASE("four images of a mosaic meet at its centre") {
  const auto pictures = four_pictures();
  const std::int64_t all[] = {0, 1, 2, 3};
  const auto scene = mosaic(pictures, all, 160, 170, 150);
  CHECK(scene.width == 320);
  CHECK(scene.height == 320);
  REQUIRE(scene.tiles.size() == 4);
  CHECK(scene.tiles[0].x2 == Approx(170));
  CHECK(scene.tiles[0].y2 == Approx(150));
  CHECK(scene.tiles[1].x1 == Approx(170));
  CHECK(scene.tiles[1].y2 == Approx(150));
  CHECK(scene.tiles[2].x2 == Approx(170));
  CHECK(scene.tiles[2].y1 == Approx(150));
  CHECK(scene.tiles[3].x1 == Approx(170));
  CHECK(scene.tiles[3].y1 == Approx(150));
  const auto view = view_of(scene, Homography{}, 320, 1);
  check_boxes(view, 320, 4);
  // The first image is 120 pixels high and ends at 150: 30 pixels of grey, then its own grey and its box.
  CHECK(apart(*seen_in(view, 0, 320), {30, 60, 110, 120, 0}) < kClose);
}

TEST_CASE("boxes of a mosaic wherever its centre is") {
  const auto pictures = four_pictures();
  const std::int64_t all[] = {3, 2, 1, 0};
  for (const double x : {80.0, 133.3, 240.0})
    for (const double y : {80.0, 201.7, 240.0}) {
      INFO("centre " << x << ", " << y);
      const auto view = view_of(mosaic(pictures, all, 160, x, y), Homography{}, 320, 1);
      check_boxes(view, 320, view.objects.size());
      CHECK(view.objects.size() >= 2);
    }
}

TEST_CASE("a mosaic turned, leaning and enlarged about its middle") {
  const auto pictures = four_pictures();
  const std::int64_t all[] = {0, 1, 2, 3};
  const auto scene = mosaic(pictures, all, 160, 170, 150);
  const auto to_middle = Homography::shift(80, 80) * turn(0, 0.5) * Homography::shift(-160, -160);
  check_boxes(view_of(scene, to_middle, 160, 0.25), 160, 4);
  const auto quarter = Homography::shift(160, 160) * turn(90) * Homography::shift(-160, -160);
  check_boxes(view_of(scene, quarter, 320, 1), 320, 4);
}

TEST_CASE("an image alone lies in the middle, its longer side as long as the canvas") {
  const auto pictures = four_pictures();
  const auto view = view_of(alone(pictures, 0, 320), Homography{}, 320, 1);
  check_boxes(view, 320, 1);
  CHECK(apart(view.objects.at(0), {40, 100, 200, 220, 0}) < 1e-3);  // 160 x 120 becomes 320 x 240 at y 40
}

TEST_CASE("boxes under shifts, scales, flips and quarter turns fit their pixels") {
  check_alone(Homography::shift(13.25, -7.5));
  check_alone(Homography::shift(-60, 40));  // beyond the left edge
  check_alone(Homography::scale(0.6, 0.6), 0.36);
  check_alone(Homography::scale(1.7, 1.7), 1.7 * 1.7);
  check_alone(Homography::scale(-1, 1));
  check_alone(Homography::scale(1, -1));
  check_alone(Homography::scale(-0.8, -0.8), 0.64);
  check_alone(turn(90));
  check_alone(turn(180));
}

TEST_CASE("boxes of turned and leaning rectangles touch their corners") {
  check_alone(turn(20, 0.8), 0.64);
  check_alone(turn(-45, 0.7), 0.49);
  check_alone(Homography{{1, std::tan(0.2), 0, std::tan(-0.1), 1, 0, 0, 0, 1}} * turn(10, 0.8), 0.64);
  check_alone(Homography{{1, 0, 0, 0, 1, 0, 0.0004, -0.0007, 1}} * turn(0, 0.8), 0.64);
  check_alone(turn(30, 0.7) * Homography{{1, 0, 0, 0, 1, 0, -0.0006, 0.0005, 1}}, 0.49);
}

TEST_CASE("an image that was read at a part of its size has its boxes where they are") {
  auto pictures = Pictures({{{480, 640}, {{80, 120, 400, 360, 0}}}});
  pictures.reduced_by = 4;
  check_boxes(view_of(alone(pictures, 0, 160), Homography{}, 160, 1), 160, 1);
  check_boxes(view_of(alone(pictures, 0, 160), about_middle(160, turn(15, 1.2)), 160, 1.44), 160, 1);
  const std::int64_t same[] = {0, 0, 0, 0};
  const auto view = view_of(mosaic(pictures, same, 160, 160, 160), Homography{}, 320, 1);
  REQUIRE(view.objects.size() == 4);
  CHECK(apart(view.objects[0], {20, 70, 100, 130, 0}) < kClose);
  CHECK(apart(view.objects[3], {180, 190, 260, 250, 0}) < kClose);
}

TEST_CASE("what hardly shows is left out") {
  const auto pictures = Pictures({{{100, 100}, {{40, 40, 60, 60, 0}, {0, 0, 100, 1, 1}}}});
  const auto objects_after = [&](double x, double y, double scale = 1) {
    return view_of(alone(pictures, 0, 100), Homography::shift(x, y) * Homography::scale(scale, scale), 100,
                   scale * scale)
        .objects.size();
  };
  CHECK(objects_after(0, 0) == 1);        // the line is less than 2 pixels high
  CHECK(objects_after(0, 0, 2.5) == 1);   // 2.5 pixels: less than a hundredth of 250, which shows 100: kept
  CHECK(objects_after(-57, 0) == 1);      // 3 of 20 columns: more than a tenth
  CHECK(objects_after(-58.5, 0) == 0);    // 1.5
  CHECK(objects_after(-40, -58.5) == 0);  // 1.5 rows
  CHECK(objects_after(200, 0) == 0);
}

TEST_CASE("a box that reaches behind the horizon of a strong perspective is left out") {
  // At x = 70 and beyond of the canvas the denominator is not positive.
  const Homography map{{1, 0, 0, 0, 1, 0, -1.0 / 70, 0, 1}};
  const auto pictures = Pictures({{{100, 100}, {{60, 10, 90, 40, 0}, {10, 10, 30, 40, 1}}}});
  const auto view = view_of(alone(pictures, 0, 100), map, 100, 1);
  REQUIRE(view.objects.size() == 1);
  CHECK(view.objects[0].label == 1);
}

TEST_CASE("augmentation depends on its random numbers only") {
  const auto pictures = four_pictures();
  Hyperparameters hyp;
  hyp.degrees = 20, hyp.shear = 5, hyp.perspective = 2e-4, hyp.flipud = 0.5, hyp.mosaic = 0.5,
  hyp.mixup = 0.5;
  CounterRng same(7, 1, 2), again(7, 1, 2), other(7, 1, 3);
  const auto view = augmented(pictures, 0, 128, hyp, same);
  const auto second = augmented(pictures, 0, 128, hyp, again);
  CHECK(view.rgb == second.rgb);
  REQUIRE(view.objects.size() == second.objects.size());
  for (std::size_t i = 0; i < view.objects.size(); ++i) CHECK(apart(view.objects[i], second.objects[i]) == 0);
  CHECK(same.next() == again.next());
  CHECK(augmented(pictures, 0, 128, hyp, other).rgb != view.rgb);
}

TEST_CASE("augmented images keep their boxes at their objects, turned or not") {
  const auto pictures = four_pictures();
  Hyperparameters hyp;
  hyp.hsv_h = hyp.hsv_s = hyp.hsv_v = 0;  // colours tell the objects apart
  hyp.mosaic = 0, hyp.flipud = 0.5, hyp.scale = 0.3;
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    INFO("seed " << seed);
    hyp.degrees = seed % 2 == 0 ? 0 : 10;
    CounterRng rng(seed);
    const auto view = augmented(pictures, static_cast<std::int64_t>(seed % 4), 256, hyp, rng);
    for (const auto& object : view.objects) {
      const auto pixels = seen_in(view, object.label, 256);
      REQUIRE(pixels.has_value());
      // A turned box that is cut off at an edge may be larger than what is left of its object.
      const bool is_cut = object.x1 == 0 || object.y1 == 0 || object.x2 == 256 || object.y2 == 256;
      if (hyp.degrees == 0 || !is_cut) CHECK(apart(*pixels, object) < kClose);
    }
  }
}

TEST_CASE("without any augmentation an image is only scaled and put in the middle") {
  const auto pictures = four_pictures();
  Hyperparameters hyp;
  hyp.hsv_h = hyp.hsv_s = hyp.hsv_v = hyp.translate = hyp.scale = hyp.fliplr = hyp.mosaic = 0;
  CounterRng rng(1);
  const auto view = augmented(pictures, 0, 160, hyp, rng);
  CHECK(apart(view.objects.at(0), {20, 50, 100, 110, 0}) < 1e-3);
  CHECK(view.rgb == view_of(alone(pictures, 0, 160), Homography{}, 160, 1).rgb);
}

TEST_CASE("a mixture of two mosaics holds the objects of both") {
  const auto pictures = four_pictures();
  Hyperparameters hyp;
  hyp.hsv_h = hyp.hsv_s = hyp.hsv_v = hyp.translate = hyp.scale = hyp.fliplr = 0;
  std::size_t plain = 0, mixed = 0;
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    CounterRng without(seed), with(seed);
    hyp.mixup = 0;
    plain += augmented(pictures, 0, 96, hyp, without).objects.size();
    hyp.mixup = 1;
    mixed += augmented(pictures, 0, 96, hyp, with).objects.size();
  }
  CHECK(mixed > plain * 3 / 2);
}
