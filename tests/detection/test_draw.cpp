// SPDX-License-Identifier: Apache-2.0
#include "trainers/data_files.hpp"

#include <algorithm>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <cmath>
#include <fstream>
#include <limits>

#include "sparsify/detection/draw.hpp"
#include "sparsify/error.hpp"

using namespace sparsify;
using namespace sparsify::detection;
using Catch::Matchers::ContainsSubstring;
namespace fs = std::filesystem;

namespace {

constexpr Colour kPaper = {10, 20, 30};

trainers::Image plain_image(std::int64_t height, std::int64_t width, Colour colour = kPaper) {
  std::vector<std::uint8_t> pixels;
  for (std::int64_t i = 0; i < height * width; ++i) pixels.insert(pixels.end(), colour.begin(), colour.end());
  return {height, width, std::move(pixels)};
}

Colour pixel_at(const trainers::Image& image, std::int64_t y, std::int64_t x) {
  const auto* pixel = image.pixel(y, x);
  return {pixel[0], pixel[1], pixel[2]};
}

std::int64_t count(const trainers::Image& image, Colour colour) {
  std::int64_t pixels = 0;
  for (std::int64_t y = 0; y < image.height(); ++y)
    for (std::int64_t x = 0; x < image.width(); ++x) pixels += pixel_at(image, y, x) == colour;
  return pixels;
}

DrawOptions lines(std::int64_t width) {
  DrawOptions options;
  options.line_width = width, options.labels = false;
  return options;
}

}  // namespace

TEST_CASE("a box has lines of its class's colour, and nothing else changes") {
  const auto image = plain_image(60, 80);
  const auto drawn = draw_boxes(image, std::vector<Detection>{{20, 10, 50, 40, 0.9F, 3}}, {}, lines(2));
  const auto colour = class_colour(3);
  CHECK(drawn.height() == 60);
  CHECK(drawn.width() == 80);
  for (const auto& [y, x] : {std::pair{10, 20}, {11, 21}, {39, 49}, {38, 48}, {10, 35}, {25, 20}, {25, 49}}) {
    INFO(y << ", " << x);
    CHECK(pixel_at(drawn, y, x) == colour);
  }
  for (const auto& [y, x] : {std::pair{9, 20}, {40, 49}, {25, 19}, {25, 50}, {12, 22}, {25, 35}, {0, 0}}) {
    INFO(y << ", " << x);
    CHECK(pixel_at(drawn, y, x) == kPaper);
  }
  CHECK(count(drawn, colour) == 30 * 30 - 26 * 26);
  CHECK(count(image, kPaper) == 60 * 80);
}

TEST_CASE("lines and letters grow with the image") {
  const std::vector<Detection> box = {{100, 100, 900, 700, 0.9F, 0}};
  DrawOptions options;
  options.labels = false;
  const auto small =
      draw_boxes(plain_image(200, 300), std::vector<Detection>{{20, 20, 120, 120, 0.9F, 0}}, {}, options);
  CHECK(pixel_at(small, 20, 60) == class_colour(0));
  CHECK(pixel_at(small, 21, 60) == kPaper);
  const auto large = draw_boxes(plain_image(800, 1000), box, {}, options);  // 0.004 * 900
  CHECK(pixel_at(large, 103, 500) == class_colour(0));
  CHECK(pixel_at(large, 104, 500) == kPaper);
}

TEST_CASE("boxes may lie outside the image, be empty or no boxes at all") {
  const float nan = std::numeric_limits<float>::quiet_NaN(), huge = std::numeric_limits<float>::infinity();
  const auto outside = draw_boxes(plain_image(20, 30),
                                  std::vector<Detection>{{-huge, -5, huge, 1e30F, 0.5F, 1}}, {}, lines(1));
  CHECK(count(outside, class_colour(1)) == 2 * 30 + 2 * 18);
  for (const auto& box : std::vector<Detection>{{nan, nan, nan, nan, nan, 1},
                                                {10, 10, 10, 15, 0.5F, 1},
                                                {15, 15, 5, 5, 0.5F, 1},
                                                {40, 40, 50, 50}})
    CHECK(count(draw_boxes(plain_image(20, 30), std::vector<Detection>{box}, {}, lines(3)), kPaper) ==
          20 * 30);
  CHECK(count(draw_boxes(plain_image(20, 30), std::vector<Detection>{}, {"cat"}), kPaper) == 20 * 30);
}

TEST_CASE("the best box is on top") {
  const auto drawn =
      draw_boxes(plain_image(40, 40),
                 std::vector<Detection>{{5, 5, 30, 30, 0.9F, 1}, {5, 5, 30, 30, 0.8F, 2}}, {}, lines(1));
  CHECK(count(drawn, class_colour(1)) == 2 * 25 + 2 * 23);
  CHECK(count(drawn, class_colour(2)) == 0);
}

TEST_CASE("labels stand above their box, or inside where there is no room") {
  DrawOptions options;
  options.line_width = 1, options.text_scale = 1;
  const auto label_of = [&](const Detection& box, const std::vector<std::string>& names) {
    return draw_boxes(plain_image(60, 100), std::vector<Detection>{box}, names, options);
  };
  const auto colour = class_colour(0);
  const auto above = label_of({20, 30, 90, 55, 0.87F, 0}, {"cat"});
  CHECK(pixel_at(above, 29, 20) == colour);
  CHECK(pixel_at(above, 19, 20) == colour);  // 9 of letters, one of margin on each side
  CHECK(pixel_at(above, 18, 20) == kPaper);
  CHECK(pixel_at(above, 29, 19) == kPaper);
  const Colour ink = {255, 255, 255};
  CHECK(count(above, ink) > 40);
  const auto inside = label_of({20, 5, 90, 55, 0.87F, 0}, {"cat"});
  CHECK(pixel_at(inside, 4, 20) == kPaper);
  CHECK(pixel_at(inside, 15, 22) == colour);
  CHECK(count(inside, ink) == count(above, ink));
  // A longer name takes more; a truth has no score; a class without a name is a number.
  CHECK(count(label_of({20, 30, 90, 55, 0.87F, 0}, {"catamaran"}), ink) > count(above, ink));
  const auto truth =
      draw_boxes(plain_image(60, 100), std::vector<GroundTruth>{{20, 30, 90, 55, 0}}, {"cat"}, options);
  CHECK(count(truth, ink) < count(above, ink));
  CHECK(count(label_of({20, 30, 90, 55, 0.87F, 7}, {"cat"}), class_colour(7)) > 200);
  // Letters beyond ASCII and line breaks are drawn as one '?' each.
  CHECK(count(label_of({20, 30, 90, 55, 0.87F, 0}, {"\xC3\xA4\n\xE2\x82\xAC"}), ink) ==
        count(label_of({20, 30, 90, 55, 0.87F, 0}, {"?\?\?"}), ink));
  CHECK(count(label_of({95, 30, 99, 55, 0.87F, 0}, {"cat"}), ink) == count(above, ink));  // moved to the left
}

TEST_CASE("classes have colours of their own, bright ones") {
  for (std::int64_t a = 0; a < 20; ++a) {
    const auto colour = class_colour(a);
    CHECK(*std::max_element(colour.begin(), colour.end()) == 255);
    for (std::int64_t b = 0; b < a; ++b) {
      const auto other = class_colour(b);
      int difference = 0;
      for (std::size_t i = 0; i < 3; ++i) difference += std::abs(colour[i] - other[i]);
      INFO(a << ", " << b);
      CHECK(difference > (a - b <= 3 ? 100 : 20));
    }
  }
  CHECK(class_colour(0) == Colour{255, 38, 38});
}

TEST_CASE("a grid shows images with their shape, on grey") {
  std::vector<trainers::Image> images;
  images.push_back(plain_image(10, 20, {255, 0, 0}));
  images.push_back(plain_image(40, 20, {0, 255, 0}));
  images.push_back(plain_image(5, 5, {0, 0, 255}));
  const auto grid = picture_grid(images, 2, 20);
  CHECK(grid.height() == 40);
  CHECK(grid.width() == 40);
  CHECK(count(grid, {255, 0, 0}) == 10 * 20);
  CHECK(count(grid, {0, 255, 0}) == 20 * 10);
  CHECK(count(grid, {0, 0, 255}) == 20 * 20);
  const Colour grey = {114, 114, 114};
  CHECK(pixel_at(grid, 4, 10) == grey);
  CHECK(pixel_at(grid, 5, 10) == Colour{255, 0, 0});
  CHECK(pixel_at(grid, 10, 24) == grey);
  CHECK(pixel_at(grid, 10, 25) == Colour{0, 255, 0});
  CHECK(pixel_at(grid, 30, 30) == grey);
  CHECK(picture_grid(images, 7, 8).width() == 3 * 8);
  CHECK_THROWS_WITH(picture_grid({}, 2, 20), ContainsSubstring("0 images"));
  CHECK_THROWS_WITH(picture_grid(images, 0, 20), ContainsSubstring("0 columns"));
}

TEST_CASE("written images can be read again; what cannot be written leaves the old file") {
  const data_test::Scratch scratch;
  const fs::path folder = scratch.path();
  const auto drawn =
      draw_boxes(plain_image(50, 70), std::vector<Detection>{{10, 20, 60, 45, 0.5F, 4}}, {}, lines(4));
  for (const std::string name : {"a.png", "a.PNG", "a.jpg", "a.jpeg"}) {
    INFO(name);
    write_image(drawn, folder / name);
    const auto read = trainers::load_image((folder / name).string());
    REQUIRE(read.height() == 50);
    REQUIRE(read.width() == 70);
    double difference = 0;
    for (std::int64_t i = 0; i < 50 * 70 * 3; ++i) difference += std::abs(read.rgb()[i] - drawn.rgb()[i]);
    if (name[2] == 'j')
      CHECK(difference / (50 * 70 * 3) < 5);
    else
      CHECK(difference == 0);
  }
  CHECK(std::distance(fs::directory_iterator(folder), {}) == 4);
  CHECK_THROWS_WITH(write_image(drawn, folder / "a.bmp"),
                    ContainsSubstring("a.bmp: ") && ContainsSubstring(".png, .jpg or .jpeg"));
  CHECK_THROWS_WITH(write_image({}, folder / "a.png"), ContainsSubstring("no pixels"));
  CHECK_THROWS_AS(write_image(drawn, folder / "none" / "a.png"), Error);
  CHECK(trainers::load_image((folder / "a.png").string()).width() == 70);
}
