// SPDX-License-Identifier: Apache-2.0
// Data sets and images read from files. The files are made here; real data only if $SPARSIFY_DATA is set.
#include <archive.h>
#include <archive_entry.h>
#include <torch/torch.h>
#include <turbojpeg.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <span>
#include <sparsify/error.hpp>
#include <sparsify/trainers/dataset.hpp>
#include <sparsify/trainers/loader.hpp>
#include <string>
#include <vector>

#include "data_files.hpp"

using namespace sparsify::trainers;
using namespace data_test;
using Catch::Matchers::ContainsSubstring;

namespace {

void write_archive(const std::string& path, const std::vector<std::pair<std::string, std::string>>& files) {
  struct archive* out = archive_write_new();
  archive_write_add_filter_gzip(out);
  archive_write_set_format_ustar(out);
  REQUIRE(archive_write_open_filename(out, path.c_str()) == ARCHIVE_OK);
  for (const auto& [name, bytes] : files) {
    struct archive_entry* entry = archive_entry_new();
    archive_entry_set_pathname(entry, name.c_str());
    archive_entry_set_size(entry, static_cast<la_int64_t>(bytes.size()));
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_perm(entry, 0644);
    REQUIRE(archive_write_header(out, entry) == ARCHIVE_OK);
    archive_write_data(out, bytes.data(), bytes.size());
    archive_entry_free(entry);
  }
  archive_write_free(out);
}

const char* real_data() {
  const char* root = std::getenv("SPARSIFY_DATA");
  if (!root) SKIP("SPARSIFY_DATA is not set");
  return root;
}

std::string cifar_file(int64_t records, uint64_t seed, int64_t label_bytes) {
  std::string file;
  for (int64_t i = 0; i < records; ++i) {
    file += std::string(static_cast<size_t>(label_bytes - 1), '\1') + static_cast<char>(i % 10);
    for (uint8_t byte : noise(3072, seed + static_cast<uint64_t>(i))) file += static_cast<char>(byte);
  }
  return file;
}

void check_cifar(const Datasets& sets) {
  REQUIRE(sets.train->size() == 15);
  REQUIRE(sets.val->size() == 4);
  REQUIRE(sets.image_size == 32);
  auto planes = noise(3072, 30 + 1);  // batch 3, record 1
  Image image = sets.train->image(7);
  CHECK(sets.train->label(7) == 1);
  for (int64_t y : {0, 9, 31})
    for (int64_t x : {0, 17, 31})
      for (int64_t c = 0; c < 3; ++c)
        CHECK(image.pixel(y, x)[c] == planes[static_cast<size_t>(c * 1024 + y * 32 + x)]);
}

}  // namespace

TEST_CASE("CIFAR's binary version is read from a folder and from its archive") {
  Scratch scratch;
  std::vector<std::pair<std::string, std::string>> files;
  for (uint64_t i = 1; i <= 5; ++i)
    files.emplace_back("data_batch_" + std::to_string(i) + ".bin", cifar_file(3, i * 10, 1));
  files.emplace_back("test_batch.bin", cifar_file(4, 900, 1));
  files.emplace_back("batches.meta.txt", "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n\n");
  for (const auto& [name, bytes] : files) scratch.write("outer/cifar-10-batches-bin/" + name, bytes);
  auto sets = open_datasets(scratch.path("outer"));
  check_cifar(sets);
  CHECK(sets.name == "cifar10");
  CHECK(sets.train->class_names()[9] == "j");
  check_cifar(open_datasets(scratch.path("outer/cifar-10-batches-bin")));

  for (auto& [name, bytes] : files) name = "cifar-10-batches-bin/" + name;
  write_archive(scratch.path("cifar-10-binary.tar.gz"), files);
  check_cifar(open_datasets(scratch.path("cifar-10-binary.tar.gz")));

  scratch.write("hundred/train.bin", cifar_file(6, 5, 2));
  scratch.write("hundred/test.bin", cifar_file(2, 50, 2));
  auto hundred = open_datasets(scratch.path("hundred"));
  CHECK(hundred.train->classes() == 100);
  CHECK(hundred.train->label(4) == 4);
  CHECK(hundred.train->image(4).pixel(0, 1)[0] == noise(3072, 9)[1]);

  scratch.write("hundred/test.bin", cifar_file(2, 50, 2) + "x");
  CHECK_THAT(message_of([&] { open_datasets(scratch.path("hundred")); }),
             ContainsSubstring("test.bin: 6149 bytes; expected a multiple of 3074"));
  fs::remove(scratch.path("outer/cifar-10-batches-bin/data_batch_4.bin"));
  CHECK_THAT(message_of([&] { open_datasets(scratch.path("outer")); }),
             ContainsSubstring("data_batch_4.bin is missing"));
}

TEST_CASE("an image folder is read in class order, grey images become RGB") {
  Scratch scratch;
  auto rgb = noise(5 * 7 * 3, 1);
  scratch.write("set/train/zebra/b.bmp", bmp(5, 7, rgb));
  scratch.write("set/train/zebra/a.JPEG", jpeg(20, 30, noise(20 * 30, 2), TJPF_GRAY));
  scratch.write("set/train/ant/inner/c.jpg", jpeg(16, 16, gradient(16, 16)));
  scratch.write("set/train/ant/notes.txt", "not an image");
  scratch.write("set/test/zebra/x.bmp", bmp(5, 7, rgb));
  scratch.write("set/test/ant/y.bmp", bmp(5, 7, rgb));
  auto sets = open_datasets(scratch.path("set/"));
  CHECK(sets.name == "set");
  CHECK(sets.image_size == 224);
  CHECK(sets.train->class_names() == std::vector<std::string>{"ant", "zebra"});
  REQUIRE(sets.train->size() == 3);
  CHECK(sets.train->label(0) == 0);
  CHECK(sets.train->label(2) == 1);
  CHECK(pixels_of(sets.train->image(2)) == rgb);
  Image grey = sets.train->image(1);
  CHECK(grey.height() == 20);
  CHECK(grey.width() == 30);
  for (int64_t x = 0; x < 30; ++x) {
    CHECK(grey.pixel(4, x)[0] == grey.pixel(4, x)[1]);
    CHECK(grey.pixel(4, x)[0] == grey.pixel(4, x)[2]);
  }
}

TEST_CASE("opening an unusable set says everything that is wrong with it") {
  Scratch scratch;
  scratch.write("train/cat/1.bmp", "x");
  scratch.write("train/dog/1.bmp", "");
  scratch.write("train/cow/readme.txt", "x");
  scratch.write("val/cat/1.bmp", "x");
  scratch.write("val/cow/1.bmp", "x");
  scratch.write("val/emu/1.bmp", "x");
  std::string message = message_of([&] { open_datasets(scratch.path()); });
  CHECK_THAT(message, ContainsSubstring("class 'dog' is in train but not in val"));
  CHECK_THAT(message, ContainsSubstring("class 'emu' is in val but not in train"));
  CHECK_THAT(message, ContainsSubstring("no images in train/cow"));
  CHECK_THAT(message, ContainsSubstring("empty or missing file " + scratch.path("train/dog/1.bmp")));

  CHECK_THAT(message_of([&] { open_datasets(scratch.path("nowhere")); }),
             ContainsSubstring("no such file or folder (looked for " + scratch.path("nowhere")));
  CHECK_THAT(message_of([&] { open_datasets(scratch.path("val")); }),
             ContainsSubstring("looked for " + scratch.path("val/train") + " with val or test"));
  CHECK_THAT(message_of([&] { open_datasets(scratch.path("train/cat/1.bmp")); }),
             ContainsSubstring("cannot be read as a .tar or .tar.gz"));
  write_archive(scratch.path("odd.tar.gz"), {{"a/b.jpg", "x"}});
  CHECK_THAT(message_of([&] { open_datasets(scratch.path("odd.tar.gz")); }),
             ContainsSubstring("archive of 1 files without an image set"));
  CHECK_THAT(message_of([] { open_datasets("generated:trian=3"); }),
             ContainsSubstring("'trian=3'; expected train=N"));
  CHECK_THAT(message_of([] { open_datasets("generated:train=-3"); }),
             ContainsSubstring("train=-3; expected"));
}

TEST_CASE("an archive's images are decoded at opening, or kept compressed when they differ in size") {
  Scratch scratch;
  auto first = gradient(8, 8);
  auto second = noise(8 * 8 * 3, 4);
  std::vector<std::pair<std::string, std::string>> files = {{"./set/train/b/0002.bmp", bmp(8, 8, second)},
                                                            {"./set/train/b/0001.bmp", bmp(8, 8, first)},
                                                            {"./set/train/a/0001.bmp", bmp(8, 8, second)},
                                                            {"./set/test/a/0001.bmp", bmp(8, 8, first)},
                                                            {"./set/test/b/0001.bmp", bmp(8, 8, first)}};
  write_archive(scratch.path("small.tar.gz"), files);
  auto sets = open_datasets(scratch.path("small.tar.gz"));
  CHECK(sets.name == "small");
  CHECK(sets.image_size == 8);
  REQUIRE(sets.train->size() == 3);
  CHECK(sets.train->label(0) == 0);
  CHECK(pixels_of(sets.train->image(1)) == first);
  CHECK(pixels_of(sets.train->image(2)) == second);
  CHECK_THAT(sets.train->describe(1), ContainsSubstring("small.tar.gz: set/train/b/0001.bmp"));

  files.emplace_back("./set/train/a/0002.bmp", bmp(5, 7, noise(5 * 7 * 3, 9)));
  write_archive(scratch.path("mixed.tar.gz"), files);
  auto mixed = open_datasets(scratch.path("mixed.tar.gz"));
  REQUIRE(mixed.train->size() == 4);
  CHECK(mixed.train->image(1).width() == 7);
  CHECK(pixels_of(mixed.train->image(3)) == second);

  files.emplace_back("./set/train/a/0003.jpg", "\xFF\xD8junk");
  write_archive(scratch.path("broken.tar.gz"), files);
  auto broken = [&] { open_datasets(scratch.path("broken.tar.gz")).train->image(2); };
  CHECK_THAT(message_of(broken), ContainsSubstring("set/train/a/0003.jpg"));

  std::ifstream whole(scratch.path("small.tar.gz"), std::ios::binary);
  std::string bytes((std::istreambuf_iterator<char>(whole)), {});
  scratch.write("cut.tar.gz", bytes.substr(0, bytes.size() / 2));
  CHECK_THAT(message_of([&] { open_datasets(scratch.path("cut.tar.gz")); }), ContainsSubstring("cut.tar.gz"));
}

TEST_CASE("broken images give an error that names the file") {
  auto rgb = gradient(64, 64);
  std::string whole = jpeg(64, 64, rgb);
  auto decode = [](const std::string& bytes) {
    return decode_image(std::as_bytes(std::span<const char>(bytes)), "some/file.jpg");
  };
  CHECK(decode(whole).width() == 64);
  CHECK_THAT(message_of([&] { decode(whole.substr(0, whole.size() / 2)); }),
             ContainsSubstring("some/file.jpg: broken JPEG: Premature end"));
  CHECK_THAT(message_of([&] { decode(whole.substr(0, 20)); }), ContainsSubstring("some/file.jpg"));
  CHECK_THAT(message_of([&] { decode("GIF89a..........."); }),
             ContainsSubstring("expected JPEG, PNG or BMP"));
  CHECK_THAT(message_of([&] { decode(""); }), ContainsSubstring("some/file.jpg: empty"));
  CHECK_THROWS_AS(load_image("/nonexistent.jpg"), Error);
  CHECK_THROWS_AS(Image(2, 2, std::vector<uint8_t>(11)), Error);
}

TEST_CASE("grey PNG and CMYK JPEG become RGB") {
  const std::vector<uint8_t> png = {0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A, 0x00, 0x00, 0x00, 0x0D,
                                    0x49, 0x48, 0x44, 0x52, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x02,
                                    0x08, 0x00, 0x00, 0x00, 0x00, 0x57, 0xDD, 0x52, 0xF8, 0x00, 0x00, 0x00,
                                    0x0E, 0x49, 0x44, 0x41, 0x54, 0x78, 0x9C, 0x63, 0xE0, 0x3A, 0xC1, 0x20,
                                    0xF7, 0x1F, 0x00, 0x04, 0x93, 0x01, 0xF0, 0x0E, 0xE3, 0x08, 0xCD, 0x00,
                                    0x00, 0x00, 0x00, 0x49, 0x45, 0x4E, 0x44, 0xAE, 0x42, 0x60, 0x82};
  Image grey = decode_image(std::as_bytes(std::span<const uint8_t>(png)), "grey.png");
  CHECK(pixels_of(grey) == std::vector<uint8_t>{10, 10, 10, 200, 200, 200, 30, 30, 30, 255, 255, 255});
  auto cut = std::as_bytes(std::span<const uint8_t>(png)).first(50);
  CHECK_THAT(message_of([&] { decode_image(cut, "grey.png"); }), ContainsSubstring("grey.png: broken image"));

  std::vector<uint8_t> cmyk;
  for (int i = 0; i < 16 * 16; ++i) cmyk.insert(cmyk.end(), {250, 128, 20, 128});
  std::string file = jpeg(16, 16, cmyk, TJPF_CMYK);
  Image ink = decode_image(std::as_bytes(std::span<const char>(file)), "ink.jpg");
  CHECK(std::abs(ink.pixel(8, 8)[0] - 125) <= 3);
  CHECK(std::abs(ink.pixel(8, 8)[1] - 64) <= 3);
  CHECK(std::abs(ink.pixel(8, 8)[2] - 10) <= 3);
}

TEST_CASE("a JPEG is decoded at reduced size when that is enough") {
  std::string bytes = jpeg(256, 320, gradient(256, 320));
  auto decode = [&](int64_t at_least) {
    return decode_image(std::as_bytes(std::span<const char>(bytes)), "x", at_least);
  };
  CHECK(decode(0).height() == 256);
  CHECK(decode(129).height() == 256);
  CHECK(decode(128).height() == 128);
  Image eighth = decode(20);
  REQUIRE(eighth.height() == 32);
  REQUIRE(eighth.width() == 40);
  for (int64_t x = 0; x < 40; ++x) CHECK(std::abs(eighth.pixel(9, x)[0] - 255 * (8 * x + 4) / 320) <= 3);
}

TEST_CASE("real CIFAR-10 JPEG archive", "[data]") {
  auto sets = open_datasets(std::string(real_data()) + "/cifar10-jpeg/cifar10-jpeg.tar.gz");
  CHECK(sets.train->size() == 50000);
  REQUIRE(sets.val->size() == 10000);
  CHECK(sets.val->class_names() == std::vector<std::string>{"airplane", "automobile", "bird", "cat", "deer",
                                                            "dog", "frog", "horse", "ship", "truck"});
  CHECK(sets.image_size == 32);
  for (int64_t c = 0; c < 10; ++c) CHECK(sets.val->label(c * 1000) == c);
  CHECK_THAT(sets.val->describe(9000), ContainsSubstring("test/truck/0000.jpg"));
  // Channel means of the training set (published: .4914 .4822 .4465); JPEG hardly moves them.
  double sums[3] = {};
  for (int64_t i = 0; i < 50000; i += 10) {
    Image image = sets.train->image(i);
    for (int64_t p = 0; p < 1024 * 3; ++p) sums[p % 3] += image.rgb()[p];
  }
  CHECK(std::abs(sums[0] / (5000.0 * 1024 * 255) - 0.4914) < 0.005);
  CHECK(std::abs(sums[1] / (5000.0 * 1024 * 255) - 0.4822) < 0.005);
  CHECK(std::abs(sums[2] / (5000.0 * 1024 * 255) - 0.4465) < 0.005);
}

TEST_CASE("real photographs", "[data]") {
  auto sets = open_datasets(std::string(real_data()) + "/imagenette224");
  CHECK(sets.train->size() == 6000);
  CHECK(sets.val->size() == 2000);
  REQUIRE(sets.train->classes() == 10);
  CHECK(sets.train->class_names()[0] == "n01440764");
  LoaderOptions options;
  options.batch_size = 100;
  options.image_size = 64;
  Loader loader(sets.val, options);
  loader.start_epoch(0);
  int64_t seen = 0;
  int64_t grey = 0;
  while (auto batch = loader.next()) {
    seen += batch->labels.numel();
    CHECK(batch->images.isfinite().all().item<bool>());
    auto& n = options.normalization;
    auto red = batch->images.select(1, 0) * n.std[0] + n.mean[0];
    auto blue = batch->images.select(1, 2) * n.std[2] + n.mean[2];
    grey += (red - blue).abs().amax({1, 2}).lt(1e-4).sum().item<int64_t>();
  }
  CHECK(seen == 2000);
  CHECK(grey > 0);
}
