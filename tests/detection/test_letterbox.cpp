// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <cmath>

#include "memory_objects.hpp"
#include "sparsify/detection/letterbox.hpp"

using namespace sparsify::detection;
using namespace detection_test;
using Catch::Approx;

namespace {

/// How far the first object's pixels are from where the placement says.
float mistake(const MemoryObjects& images, std::int64_t height, std::int64_t width) {
  const auto placement = placement_in(images.image_size(0), height, width);
  std::vector<float> out(static_cast<std::size_t>(height * width * 3), -1);
  letterbox(images.image(0, 0), placement, height, width, out.data());
  CHECK(std::all_of(out.begin(), out.end(), [](float value) { return value >= 0 && value <= 1; }));
  const auto pixels = drawn_box(height, width, 0, [&](std::int64_t y, std::int64_t x, std::int64_t c) {
    return out[static_cast<std::size_t>((y * width + x) * 3 + c)] * 255;
  });
  const auto& box = images.objects(0).at(0);
  const auto x = [&](float at) { return static_cast<float>(at * placement.scale_x + placement.left); };
  const auto y = [&](float at) { return static_cast<float>(at * placement.scale_y + placement.top); };
  return apart({x(box.x1), y(box.y1), x(box.x2), y(box.y2), 0}, pixels);
}

}  // namespace

TEST_CASE("an image is as large as it fits, in the middle") {
  const auto wide = placement_in({480, 640}, 320, 320);
  CHECK(wide.scale_x == 0.5);
  CHECK(wide.scale_y == 0.5);
  CHECK(wide.left == 0);
  CHECK(wide.top == 40);
  CHECK(wide.image.height == 480);
  const auto high = placement_in({200, 100}, 320, 640);
  CHECK(high.scale_y == Approx(1.6));
  CHECK(high.left == 240);
  CHECK(high.top == 0);
  const auto line = placement_in({1, 1000}, 32, 32);  // keeps a row
  CHECK(line.scale_y == 1);
  CHECK(line.top == 15);
}

TEST_CASE("a letterboxed object lies where the placement says") {
  for (const ImageSize size : {ImageSize{120, 160}, {333, 200}, {97, 211}, {64, 64}, {500, 90}})
    for (const ImageSize input : {ImageSize{160, 160}, {96, 224}, {224, 96}, {320, 320}})
      for (const std::int64_t divisor : {1, 2}) {
        ReducedObjects images(divisor);
        const auto height = static_cast<float>(size.height), width = static_cast<float>(size.width);
        images.add(size.height, size.width,
                   {{std::floor(width / 8) * 2, std::floor(height / 6) * 2, std::floor(width / 3) * 2,
                     std::floor(height / 2.5F) * 2, 0}});
        INFO(size.height << " x " << size.width << " in " << input.height << " x " << input.width
                         << ", read at 1/" << divisor);
        CHECK(mistake(images, input.height, input.width) < 1.5F);
      }
}

TEST_CASE("what the image does not fill is grey") {
  MemoryObjects images;
  images.add(40, 80, {{0, 0, 80, 40, 0}});
  const auto result = letterboxed(images.image(0, 0), 64);
  REQUIRE(result.pixels.sizes() == torch::IntArrayRef{1, 3, 64, 64});
  CHECK(result.placement.top == 16);
  for (const std::int64_t row : {0, 15, 48, 63})
    CHECK((result.pixels[0].select(1, row) == 114.F / 255).all().item<bool>());
  for (const std::int64_t row : {16, 47}) {
    CHECK((result.pixels[0][0][row] == 1).all().item<bool>());
    CHECK((result.pixels[0][1][row] == 0).all().item<bool>());
  }
}

TEST_CASE("boxes go back to the image, clipped to it") {
  for (const ImageSize size : {ImageSize{480, 640}, {333, 500}, {97, 31}}) {
    const auto placement = placement_in(size, 416, 416);
    const auto x = [&](double at) { return static_cast<float>(at * placement.scale_x + placement.left); };
    const auto y = [&](double at) { return static_cast<float>(at * placement.scale_y + placement.top); };
    const auto back =
        to_image({{x(3), y(5), x(20.5), y(31.25), 0.75F, 4}, {-9, -9, 999, 999, 0.5F, 1}}, placement);
    REQUIRE(back.size() == 2);
    CHECK(back[0].x1 == Approx(3).margin(1e-3));
    CHECK(back[0].y1 == Approx(5).margin(1e-3));
    CHECK(back[0].x2 == Approx(20.5).margin(1e-3));
    CHECK(back[0].y2 == Approx(31.25).margin(1e-3));
    CHECK(back[0].score == 0.75F);
    CHECK(back[0].label == 4);
    CHECK(back[1].x1 == 0);
    CHECK(back[1].y1 == 0);
    CHECK(back[1].x2 == static_cast<float>(size.width));
    CHECK(back[1].y2 == static_cast<float>(size.height));
  }
}
