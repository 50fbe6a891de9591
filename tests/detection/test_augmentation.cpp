// SPDX-License-Identifier: Apache-2.0
// Boxes are judged by what is drawn: a filled rectangle is transformed and looked for among the pixels.
#include <catch2/catch_test_macros.hpp>

#include <cmath>

#include "detection/augment.hpp"
#include "memory_objects.hpp"

using namespace sparsify::detection;
using namespace detection_test;
using sparsify::trainers::CounterRng;

namespace {

constexpr std::int64_t kSide = 192;

GroundTruth drawn_in(const View& view, std::int64_t label, std::int64_t side = kSide) {
  return drawn_box(side, side, label, [&](std::int64_t y, std::int64_t x, std::int64_t c) {
    return view.rgb[static_cast<std::size_t>((y * side + x) * 3 + c)];
  });
}

// Of four shapes; the rectangles touch no border of their image.
struct FourImages : MemoryObjects {
  FourImages() {
    add(192, 192, {{60, 50, 130, 120, 0}});
    add(144, 192, {{40, 30, 150, 90, 1}});
    add(192, 96, {{20, 60, 70, 150, 2}});
    add(384, 300, {{80, 100, 240, 300, 3}});
  }
};

Homography about_centre(const Homography& map, double centre) {
  return Homography::shift(kSide / 2.0, kSide / 2.0) * map * Homography::shift(-centre, -centre);
}

Homography turned(double degrees, double scale) {
  const double c = scale * std::cos(degrees * M_PI / 180), s = scale * std::sin(degrees * M_PI / 180);
  return {{c, s, 0, -s, c, 0, 0, 0, 1}};
}

bool is_off_the_border(const GroundTruth& box) {
  return box.x1 > 1 && box.y1 > 1 && box.x2 < kSide - 1 && box.y2 < kSide - 1;
}

Hyperparameters still() {
  Hyperparameters hyp;
  hyp.hsv_h = hyp.hsv_s = hyp.hsv_v = 0;
  hyp.translate = hyp.scale = hyp.fliplr = hyp.mosaic = 0;
  return hyp;
}

}  // namespace

TEST_CASE("boxes follow their pixels through one map at a time") {
  const FourImages images;
  const Homography lean{{1, 0.2, 0, -0.1, 1, 0, 0, 0, 1}}, warp{{1, 0, 0, 0, 1, 0, 8e-4, -5e-4, 1}};
  struct Case {
    const char* name;
    Homography map;
    double area_scale;
  };
  const Case cases[] = {{"none", {}, 1},
                        {"scale", turned(0, 0.7), 0.49},
                        {"rotation", turned(25, 1), 1},
                        {"shear", lean, 1},
                        {"perspective", warp, 1},
                        {"flip", Homography::scale(-1, 1), 1},
                        {"all", turned(-15, 0.8) * lean * warp, 0.64}};
  for (const auto& [name, map, area_scale] : cases)
    for (std::int64_t i = 0; i < 4; ++i) {
      INFO(name << ", image " << i);
      const auto view = view_of(alone(images, i, kSide), about_centre(map, kSide / 2.0), kSide, area_scale);
      REQUIRE(view.objects.size() == 1);
      CHECK(view.objects[0].label == i);
      CHECK(apart(view.objects[0], drawn_in(view, i)) <= 1);
    }
}

TEST_CASE("the four images of a mosaic meet at its centre, boxes cut where their image ends") {
  const FourImages images;
  for (const auto& [x, y] : {std::pair{192.0, 192.0}, {120.0, 250.0}, {280.5, 100.25}}) {
    const auto scene = mosaic(images, {0, 1, 2, 3}, kSide, x, y);
    CHECK(scene.width == 2 * kSide);
    for (const double degrees : {0.0, 20.0}) {
      INFO(x << ", " << y << ", " << degrees << " degrees");
      const auto view = view_of(scene, about_centre(turned(degrees, 0.4), kSide), kSide, 0.16);
      CHECK(view.objects.size() >= 3);
      for (const auto& object : view.objects)
        if (is_off_the_border(object)) CHECK(apart(object, drawn_in(view, object.label)) <= 1);
    }
  }
}

TEST_CASE("grey shows where there is no image") {
  const FourImages images;
  const auto view = view_of(alone(images, 2, kSide), Homography{}, kSide, 1);
  for (const std::int64_t x : {0, 47, 144, 191}) CHECK(view.rgb[static_cast<std::size_t>(x * 3)] == 114);
  for (const std::int64_t x : {48, 143}) CHECK(view.rgb[static_cast<std::size_t>(x * 3)] == 0);
}

TEST_CASE("random perspectives keep boxes on their pixels") {
  const FourImages images;
  auto hyp = still();
  hyp.degrees = 20, hyp.translate = 0.1, hyp.scale = 0.4, hyp.shear = 8, hyp.perspective = 5e-4;
  hyp.fliplr = hyp.flipud = 0.5;
  int compared = 0;
  for (std::uint64_t sample = 0; sample < 60; ++sample) {
    CounterRng rng(1, 2, sample);
    const auto index = static_cast<std::int64_t>(sample % 4);
    const auto view = augmented(images, index, kSide, hyp, rng);
    for (const auto& object : view.objects) {
      if (!is_off_the_border(object)) continue;
      INFO("sample " << sample);
      // Sharp corners end in less than half a pixel's cover.
      CHECK(apart(object, drawn_in(view, index)) <= 1.5F);
      ++compared;
    }
  }
  CHECK(compared > 30);
}

TEST_CASE("an image that nothing is done to is itself; flips mirror it") {
  const FourImages images;
  auto hyp = still();
  CounterRng rng(3);
  const auto plain = augmented(images, 0, kSide, hyp, rng);
  const auto original = images.image(0, 0);
  CHECK(plain.rgb == std::vector<std::uint8_t>(original.rgb(), original.rgb() + kSide * kSide * 3));
  hyp.fliplr = 1;
  const auto mirrored = augmented(images, 0, kSide, hyp, rng);
  CHECK(apart(mirrored.objects.at(0), {kSide - 130, 50, kSide - 60, 120, 0}) < 1e-3F);
  CHECK(apart(drawn_in(mirrored, 0), {kSide - 130, 50, kSide - 60, 120, 0}) == 0);
  hyp.fliplr = 0, hyp.flipud = 1;
  const auto upside_down = augmented(images, 0, kSide, hyp, rng);
  CHECK(apart(upside_down.objects.at(0), {60, kSide - 120, 130, kSide - 50, 0}) < 1e-3F);
  CHECK(apart(drawn_in(upside_down, 0), {60, kSide - 120, 130, kSide - 50, 0}) == 0);
}

TEST_CASE("objects that are too small, too long or mostly hidden are left out") {
  const auto kept = [](const GroundTruth& box, const Homography& map, double area_scale) {
    MemoryObjects images;
    images.add(512, 512, {box});
    return view_of(alone(images, 0, 512), map, 512, area_scale).objects.size() == 1;
  };
  CHECK_FALSE(kept({50, 50, 52, 90, 0}, {}, 1));
  CHECK(kept({50, 50, 53, 90, 0}, {}, 1));
  CHECK_FALSE(kept({50, 50, 90, 52, 0}, {}, 1));
  CHECK_FALSE(kept({50, 50, 54, 90, 0}, Homography::scale(0.5, 0.5), 0.25));
  CHECK(kept({50, 50, 56, 90, 0}, Homography::scale(0.5, 0.5), 0.25));
  CHECK_FALSE(kept({0, 0, 100, 100, 0}, Homography::shift(-91, 0), 1));
  CHECK(kept({0, 0, 100, 100, 0}, Homography::shift(-89, 0), 1));
  CHECK_FALSE(kept({0, 0, 100, 100, 0}, Homography::shift(-120, 0), 1));
  CHECK(kept({0, 50, 510, 56, 0}, {}, 1));  // 85 times as long as wide
  CHECK_FALSE(kept({0, 50, 510, 55, 0}, {}, 1));
  CHECK_FALSE(kept({50, 0, 55, 510, 0}, {}, 1));
}

TEST_CASE("colours: factors of one change nothing, others do what they say") {
  std::vector<std::uint8_t> rgb;
  for (int r = 0; r < 256; r += 5)
    for (int g = 0; g < 256; g += 5)
      for (int b = 0; b < 256; b += 3)
        for (const int value : {r, g, b}) rgb.push_back(static_cast<std::uint8_t>(value));
  auto same = rgb;
  shift_colours(same.data(), static_cast<std::int64_t>(same.size() / 3), 1, 1, 1);
  CHECK(same == rgb);
  using Pixel = std::vector<std::uint8_t>;
  const auto shifted = [](Pixel pixel, double hue, double saturation, double value) {
    shift_colours(pixel.data(), 1, hue, saturation, value);
    return pixel;
  };
  CHECK(shifted({200, 100, 50}, 1, 1, 0.5) == Pixel{100, 50, 25});
  CHECK(shifted({200, 100, 50}, 1, 1, 2) == Pixel{255, 128, 64});
  CHECK(shifted({200, 100, 50}, 1, 0, 1) == Pixel{200, 200, 200});
  CHECK(shifted({200, 100, 100}, 1, 2, 1) == Pixel{200, 0, 0});
  CHECK(shifted({0, 200, 0}, 1.5, 1, 1) == Pixel{0, 200, 200});
}

TEST_CASE("mixup adds the objects of a second mosaic to those of the first") {
  const FourImages images;
  Hyperparameters hyp;
  std::size_t alone_count = 0, mixed_count = 0;
  for (std::uint64_t sample = 0; sample < 10; ++sample) {
    hyp.mixup = 0;
    CounterRng first(5, 0, sample), second(5, 0, sample), third(5, 0, sample);
    const auto single = augmented(images, 0, 96, hyp, first);
    hyp.mixup = 1;
    const auto mixed = augmented(images, 0, 96, hyp, second);
    CHECK(mixed.rgb == augmented(images, 0, 96, hyp, third).rgb);
    CHECK(mixed.rgb != single.rgb);
    REQUIRE(mixed.objects.size() >= single.objects.size());
    for (std::size_t i = 0; i < single.objects.size(); ++i)
      CHECK(apart(single.objects[i], mixed.objects[i]) == 0);
    alone_count += single.objects.size(), mixed_count += mixed.objects.size();
  }
  CHECK(mixed_count > alone_count);
}
