// SPDX-License-Identifier: Apache-2.0
// Sizes of images: from their headers, and kept for the next time a set is opened.
#include "detection/image_index.hpp"

#include <catch2/catch_test_macros.hpp>
#include <cstdlib>

#include "detection_files.hpp"

using namespace sparsify::detection;
using namespace detection_test;

namespace {

struct OneEach : Scratch {
  OneEach() {
    write("pets.names", "cat\n");
    write("images/train/a.jpg", data_test::jpeg(20, 40, data_test::gradient(20, 40)));
    write_plain_image(*this, "images/val/b.png", 16, 8);
    for (const char* name : {"labels/train/a.txt", "labels/val/b.txt"}) write(name, "0 0.5 0.5 0.5 0.5\n");
  }
  /// Other bytes, as many as before, at the time of before.
  void spoil(const std::string& name) const {
    const auto time = fs::last_write_time(path(name));
    write(name, std::string(fs::file_size(path(name)), '-'));
    fs::last_write_time(path(name), time);
  }
  std::int64_t width() const { return open_detection_datasets(path()).train->image_size(0).width; }
};

std::string read_text(const std::string& file) {
  std::ifstream stream(file);
  return {std::istreambuf_iterator<char>(stream), {}};
}

}  // namespace

TEST_CASE("a second opening does not read the images") {
  const OneEach files;
  CHECK(files.width() == 40);
  REQUIRE(fs::exists(files.path("labels/sparsify.index")));
  files.spoil("images/train/a.jpg");
  files.spoil("images/val/b.png");
  const auto again = open_detection_datasets(files.path());
  CHECK(again.train->image_size(0).width == 40);
  CHECK(again.val->image_size(0).height == 16);
  CHECK(again.findings.empty());
}

TEST_CASE("an image that has changed is read again") {
  const OneEach files;
  CHECK(files.width() == 40);
  files.write("images/train/a.jpg", data_test::jpeg(20, 60, data_test::gradient(20, 60)));
  CHECK(files.width() == 60);
  const auto file = files.path("images/train/a.jpg");
  files.spoil("images/train/a.jpg");
  fs::last_write_time(file, fs::last_write_time(file) + std::chrono::seconds(1));
  CHECK(refusal(files.path()) == files.path() + ": cannot be used\n  " + file +
                                     ": not an image that can be read; expected JPEG, PNG or BMP");
}

TEST_CASE("a damaged index is made anew") {
  const OneEach files;
  const auto index = files.path("labels/sparsify.index");
  CHECK(files.width() == 40);
  const auto sound = read_text(index);
  for (const auto& text :
       {std::string(), std::string("other\n"), sound.substr(0, sound.size() / 2),
        "sparsify image index 2\n0 0 1 0 0 1 1 " + files.path("images/train/a.jpg") + "\n"}) {
    files.write("labels/sparsify.index", text);
    CHECK(files.width() == 40);
    CHECK(read_text(index) == sound);
  }
}

TEST_CASE("the index is kept where options say, as a file or in a folder") {
  const OneEach files;
  fs::create_directories(files.path("kept"));
  open_detection_datasets(files.path(), {.cache = files.path("kept"), .threads = 2});
  CHECK(fs::exists(files.path("kept/sparsify.index")));
  open_detection_datasets(files.path(), {.cache = files.path("mine.txt"), .threads = 1});
  CHECK(read_text(files.path("mine.txt")) == read_text(files.path("kept/sparsify.index")));
  CHECK_FALSE(fs::exists(files.path("labels/sparsify.index")));
}

TEST_CASE("an index that cannot be written is no error") {
  const OneEach files;
  const auto nowhere = files.path("pets.names") + "/index";  // below a file: even root cannot
  const auto data = open_detection_datasets(files.path(), {.cache = nowhere, .threads = 0});
  CHECK(data.train->size() == 1);
  CHECK(data.findings.empty());
}

TEST_CASE("what a file's name says of its format is not believed") {
  const OneEach files;
  fs::rename(files.path("images/val/b.png"), files.path("images/val/b.JPG"));
  fs::rename(files.path("images/train/a.jpg"), files.path("images/train/a.png"));
  const auto data = open_detection_datasets(files.path());
  CHECK(findings_of(data) ==
        std::vector<std::string>{
            files.path("images/train/a.png") + ": a JPEG, though its name ends in .png: read as JPEG",
            files.path("images/val/b.JPG") + ": a PNG, though its name ends in .jpg: read as PNG"});
  CHECK(data.val->image(0).width() == 8);
}

TEST_CASE("headers of JPEG, PNG and BMP say what decoding says") {
  const Scratch files;
  const auto pixels = data_test::gradient(12, 20);
  files.write("a.jpg", data_test::jpeg(12, 20, pixels));
  files.write("b.bmp", data_test::bmp(12, 20, pixels));
  write_plain_image(files, "c.png", 12, 20);
  for (const char* name : {"a.jpg", "b.bmp", "c.png"}) {
    const auto header = read_image_header(files.path(name));
    CHECK(header.size.height == 12);
    CHECK(header.size.width == 20);
    CHECK(header.orientation == 1);
  }
  const auto jpeg = data_test::jpeg(12, 20, pixels);
  for (std::size_t length = 1; length < jpeg.size(); length += 7) {  // cut off: the same size, or an error
    files.write("cut.jpg", jpeg.substr(0, length));
    try {
      const auto width = read_image_header(files.path("cut.jpg")).size.width;
      CHECK(width == 20);
    } catch (const sparsify::Error& error) {
      CHECK(std::string(error.what()).starts_with(files.path("cut.jpg") + ": "));
    }
  }
}

TEST_CASE("grey images are told about once") {
  // 1 x 1 pixel: signature, IHDR with colour type 0, the compressed row, IEND.
  const std::string signature = "\x89PNG\r\n\x1A\n";
  const unsigned char rest[] = {0,    0, 0, 13,  'I',  'H', 'D',  'R',  0,    0,    0,    1,
                                0,    0, 0, 1,   8,    0,   0,    0,    0,    0x3A, 0x7E, 0x9B,
                                0x55, 0, 0, 0,   10,   'I', 'D',  'A',  'T',  0x78, 0x9C, 0x63,
                                0x68, 0, 0, 0,   0x82, 0,   0x81, 0x77, 0xCD, 0x72, 0xB6, 0,
                                0,    0, 0, 'I', 'E',  'N', 'D',  0xAE, 0x42, 0x60, 0x82};
  const auto png = signature + std::string(std::begin(rest), std::end(rest));
  const OneEach files;
  for (const char* name : {"c", "d"}) {
    files.write(std::string("images/train/") + name + ".png", png);
    files.write(std::string("labels/train/") + name + ".txt", "0 0.5 0.5 0.5 0.5\n");
  }
  const auto told = std::vector<std::string>{files.path("images/train/c.png") +
                                             ": grey, and 1 more: read with three equal channels"};
  CHECK(findings_of(open_detection_datasets(files.path())) == told);
  CHECK(findings_of(open_detection_datasets(files.path())) == told);  // from the index
  CHECK_FALSE(read_image_header(files.path("images/val/b.png")).grey);
}

TEST_CASE("a broken JPEG does not make the next one broken") {
  const Scratch files;
  const auto jpeg = data_test::jpeg(12, 20, data_test::gradient(12, 20));
  files.write("good.jpg", jpeg);
  for (const std::size_t length : {std::size_t{3}, std::size_t{30}, std::size_t{100}, jpeg.size() / 2}) {
    files.write("cut.jpg", jpeg.substr(0, length));
    CHECK_THROWS_AS(sparsify::trainers::load_image(files.path("cut.jpg")), sparsify::Error);
    CHECK(sparsify::trainers::load_image(files.path("good.jpg")).width() == 20);
  }
}
