// SPDX-License-Identifier: Apache-2.0
// Images whose EXIF says that they are to be turned.
#include "detection/upright.hpp"
#include "sparsify/detection/image_input.hpp"

#include <catch2/catch_test_macros.hpp>
#include <cstdlib>

#include "detection/exif.hpp"
#include "detection_files.hpp"
#include "exif_files.hpp"

using namespace sparsify::detection;
using namespace detection_test;
using sparsify::trainers::Image;

namespace {

using Bytes = std::vector<std::uint8_t>;

// Every pixel is grey, of its letter.
Image letters(std::int64_t height, std::int64_t width, const std::string& text) {
  Bytes rgb;
  for (const char letter : text) rgb.insert(rgb.end(), 3, static_cast<std::uint8_t>(letter));
  return {height, width, rgb};
}

std::string letters_of(const Image& image) {
  std::string text = std::to_string(image.height()) + "x" + std::to_string(image.width()) + " ";
  for (std::int64_t y = 0; y < image.height(); ++y)
    for (std::int64_t x = 0; x < image.width(); ++x) text += static_cast<char>(image.pixel(y, x)[0]);
  return text;
}

// White above, black below.
std::string two_halves(int height, int width) {
  Bytes rgb(static_cast<std::size_t>(height * width * 3));
  std::fill_n(rgb.begin(), rgb.size() / 2, std::uint8_t{255});
  return data_test::jpeg(height, width, rgb);
}

}  // namespace

TEST_CASE("each of EXIF's eight orientations") {
  const auto turned = [](int orientation) {
    return letters_of(upright(letters(2, 3, "abcdef"), orientation));
  };
  CHECK(turned(1) == "2x3 abcdef");
  CHECK(turned(2) == "2x3 cbafed");
  CHECK(turned(3) == "2x3 fedcba");
  CHECK(turned(4) == "2x3 defabc");
  CHECK(turned(5) == "3x2 adbecf");
  CHECK(turned(6) == "3x2 daebfc");
  CHECK(turned(7) == "3x2 fcebda");
  CHECK(turned(8) == "3x2 cfbead");
}

TEST_CASE("EXIF that says no orientation, or is cut off") {
  const auto segment = with_orientation("12", 6, true).substr(6);
  CHECK(exif_orientation(segment) == 6);
  CHECK_FALSE(exif_orientation(""));
  CHECK_FALSE(exif_orientation("http://ns.adobe.com/xap/1.0/"));
  CHECK_FALSE(exif_orientation(with_orientation("12", 9, true).substr(6)));
  CHECK_FALSE(exif_orientation(with_orientation("12", 0, false).substr(6)));
  for (std::size_t length = 0; length < 6 + 8 + 2 + 12 + 10; ++length)
    CHECK_FALSE(exif_orientation(segment.substr(0, length)));
}

TEST_CASE("an image file that EXIF turns is loaded upright") {
  const Scratch files;
  files.write("plain.jpg", two_halves(16, 64));
  files.write("turned.jpg", with_orientation(two_halves(16, 64), 6, true));
  const auto plain = load_upright(files.path("plain.jpg")), turned = load_upright(files.path("turned.jpg"));
  CHECK(plain.height() == 16);
  CHECK(plain.width() == 64);
  CHECK(turned.height() == 64);
  CHECK(turned.width() == 16);
  CHECK(turned.pixel(32, 15)[0] > 250);
  CHECK(turned.pixel(32, 0)[0] < 5);
}

TEST_CASE("images that EXIF turns come upright, their boxes with them") {
  const Scratch files;
  files.write("images/train/a.jpg", with_orientation(two_halves(16, 64), 6, true));
  files.write("images/val/b.jpg", with_orientation(two_halves(16, 64), 8, false));
  files.write("labels/train/a.txt", "0 0.75 0.5 0.5 1\n");
  files.write("labels/val/b.txt", "0 0.25 0.5 0.5 1\n");
  files.write("pets.names", "cat\n");
  for (int opening = 0; opening < 2; ++opening) {  // the second one from the index
    const auto data = open_detection_datasets(files.path());
    CHECK(findings_of(data) ==
          std::vector<std::string>{files.path("images/train/a.jpg") + ": EXIF orientation 6: turned upright",
                                   files.path("images/val/b.jpg") + ": EXIF orientation 8: turned upright"});
    CHECK(data.train->image_size(0).height == 64);
    CHECK(data.train->image_size(0).width == 16);
    CHECK(is_box(data.train->objects(0).at(0), 0, 8, 0, 16, 64));
    for (const std::int64_t at_least : {0, 8}) {
      const auto right = data.train->image(0, at_least), left = data.val->image(0, at_least);
      CHECK(right.height() == 4 * right.width());
      CHECK(right.pixel(right.height() / 2, right.width() - 1)[0] > 250);
      CHECK(right.pixel(right.height() / 2, 0)[0] < 5);
      CHECK(left.pixel(left.height() / 2, 0)[0] > 250);
      CHECK(left.pixel(left.height() / 2, left.width() - 1)[0] < 5);
    }
  }
}
