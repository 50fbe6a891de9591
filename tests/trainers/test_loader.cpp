// SPDX-License-Identifier: Apache-2.0
// What happens between a decoded image and a batch: resizing, augmentation, order, threads.
#include <torch/torch.h>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <cmath>
#include <numeric>
#include <set>
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

/// Triangle filter in double precision, widened when shrinking: what `resize` has to compute.
std::vector<double> weights_at(double center, double scale, int64_t size) {
  double support = std::max(1.0, scale);
  std::vector<double> weights(static_cast<size_t>(size));
  for (auto i = static_cast<int64_t>(std::floor(center - support - 1)); i <= center + support + 1; ++i) {
    double distance = std::abs(static_cast<double>(i) + 0.5 - center) / support;
    weights[static_cast<size_t>(std::clamp<int64_t>(i, 0, size - 1))] += std::max(0.0, 1.0 - distance);
  }
  double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  for (auto& weight : weights) weight /= sum;
  return weights;
}

std::vector<double> reference_resize(const std::vector<uint8_t>& rgb, int64_t height, int64_t width,
                                     int64_t out_h, int64_t out_w) {
  std::vector<double> result;
  double scale_y = static_cast<double>(height) / static_cast<double>(out_h);
  double scale_x = static_cast<double>(width) / static_cast<double>(out_w);
  for (int64_t y = 0; y < out_h; ++y) {
    auto rows = weights_at((static_cast<double>(y) + 0.5) * scale_y, scale_y, height);
    for (int64_t x = 0; x < out_w; ++x) {
      auto columns = weights_at((static_cast<double>(x) + 0.5) * scale_x, scale_x, width);
      for (int64_t c = 0; c < 3; ++c) {
        double sum = 0;
        for (int64_t i = 0; i < height; ++i)
          for (int64_t j = 0; rows[static_cast<size_t>(i)] > 0 && j < width; ++j)
            sum += rows[static_cast<size_t>(i)] * columns[static_cast<size_t>(j)] *
                   rgb[static_cast<size_t>((i * width + j) * 3 + c)];
        result.push_back(sum);
      }
    }
  }
  return result;
}

double largest_difference(const std::vector<uint8_t>& got, const std::vector<double>& expected) {
  REQUIRE(got.size() == expected.size());
  double largest = 0;
  for (size_t i = 0; i < got.size(); ++i) largest = std::max(largest, std::abs(got[i] - expected[i]));
  return largest;
}

constexpr Normalization kPlain{{0, 0, 0}, {1.0F / 255.0F, 1.0F / 255.0F, 1.0F / 255.0F}};  // input = pixel

std::vector<float> run(const Transform& transform, const Image& image, CounterRng rng) {
  int64_t side = transform.image_size();
  std::vector<float> output(static_cast<size_t>(side * side * 3));
  transform.apply(image, rng, output.data());
  return output;
}

LoaderOptions training(int64_t batch_size, int64_t workers) {
  LoaderOptions options;
  options.batch_size = batch_size;
  options.workers = workers;
  options.shuffle = true;
  options.seed = 7;
  options.augmentation = Augmentation::small_images();
  return options;
}

std::vector<Batch> rest_of_epoch(Loader& loader) {
  std::vector<Batch> batches;
  while (auto batch = loader.next()) batches.push_back(*batch);
  return batches;
}

bool same_batches(const std::vector<Batch>& a, const std::vector<Batch>& b, size_t skip = 0) {
  if (a.size() != b.size() + skip) return false;
  for (size_t i = 0; i < b.size(); ++i)
    if (!a[i + skip].images.equal(b[i].images) || !a[i + skip].labels.equal(b[i].labels)) return false;
  return true;
}

}  // namespace

TEST_CASE("resizing is an antialiased triangle filter") {
  auto rgb = noise(23 * 31 * 3, 3);
  Image image(23, 31, rgb);
  CHECK(largest_difference(pixels_of(resize(image, {0, 0, 23, 31}, 9, 11)),
                           reference_resize(rgb, 23, 31, 9, 11)) <= 1.0);
  CHECK(largest_difference(pixels_of(resize(image, {0, 0, 23, 31}, 40, 50)),
                           reference_resize(rgb, 23, 31, 40, 50)) <= 1.0);
  // Evaluation: shorter side 16 * 256 / 224 = 18, so 18 x 24, of which the centre 16 x 16 from (1, 4).
  auto whole = reference_resize(rgb, 23, 31, 18, 24);
  std::vector<double> center;
  for (int64_t y = 0; y < 16; ++y)
    for (int64_t i = 0; i < 16 * 3; ++i)
      center.push_back(whole[static_cast<size_t>(((y + 1) * 24 + 4) * 3 + i)]);
  auto got = run(Transform(16, kPlain), image, CounterRng(0));
  std::vector<uint8_t> bytes;
  for (float value : got) bytes.push_back(static_cast<uint8_t>(std::lround(value)));
  CHECK(largest_difference(bytes, center) <= 1.0);
}

TEST_CASE("pad, crop and flip move pixels exactly") {
  constexpr int64_t kSide = 12;
  constexpr int64_t kPadding = 4;
  auto rgb = noise(kSide * kSide * 3, 5);
  Image image(kSide, kSide, rgb);
  Normalization normalization;
  std::set<int64_t> shifts;
  int64_t flips = 0;
  for (PaddingMode mode : {PaddingMode::kReflect, PaddingMode::kZero}) {
    Augmentation augmentation = Augmentation::small_images();
    augmentation.padding_mode = mode;
    Transform transform(kSide, normalization, augmentation);
    for (uint64_t sample = 0; sample < 200; ++sample) {
      auto got = run(transform, image, CounterRng(1, 2, sample));
      CounterRng rng(1, 2, sample);
      int64_t top = rng.below(2 * kPadding + 1) - kPadding;
      int64_t left = rng.below(2 * kPadding + 1) - kPadding;
      bool flip = rng.chance(0.5F);
      shifts.insert(top * 100 + left);
      flips += flip;
      bool same = true;
      for (int64_t y = 0; y < kSide; ++y)
        for (int64_t x = 0; x < kSide; ++x)
          for (int64_t c = 0; c < 3; ++c) {
            auto mirror = [](int64_t p) { return p < 0 ? -p : p >= kSide ? 2 * (kSide - 1) - p : p; };
            int64_t sy = y + top;
            int64_t sx = (flip ? kSide - 1 - x : x) + left;
            bool inside = sy >= 0 && sy < kSide && sx >= 0 && sx < kSide;
            int pixel = rgb[static_cast<size_t>((mirror(sy) * kSide + mirror(sx)) * 3 + c)];
            if (!inside && mode == PaddingMode::kZero) pixel = 0;
            auto channel = static_cast<size_t>(c);
            float expected = (static_cast<float>(pixel) / 255.0F - normalization.mean[channel]) /
                             normalization.std[channel];
            same = same && got[static_cast<size_t>((y * kSide + x) * 3 + c)] == expected;
          }
      REQUIRE(same);
    }
  }
  CHECK(shifts.size() > 65);  // of 81
  CHECK(flips > 160);
  CHECK(flips < 240);
}

TEST_CASE("random resized crops stay inside scale and ratio; colours are jittered") {
  // Red counts columns and green rows, so the output tells where it was cut.
  std::vector<uint8_t> rgb;
  for (int64_t y = 0; y < 200; ++y)
    for (int64_t x = 0; x < 200; ++x)
      for (int64_t value : {x, y, int64_t{100}}) rgb.push_back(static_cast<uint8_t>(value));
  Image image(200, 200, rgb);
  Augmentation augmentation;
  augmentation.random_resized_crop = RandomResizedCrop{0.25F, 0.5F, 0.75F, 1.5F};
  Transform transform(20, kPlain, augmentation);
  for (uint64_t sample = 0; sample < 100; ++sample) {
    CounterRng rng(3, 0, sample);
    auto out = run(transform, image, rng);
    float width = (out[(19) * 3] - out[0]) / 19 * 20;
    float height = (out[19 * 20 * 3 + 1] - out[1]) / 19 * 20;
    CHECK(width * height > 0.22F * 40000);
    CHECK(width * height < 0.55F * 40000);
    CHECK(width / height > 0.68F);
    CHECK(width / height < 1.65F);
    CHECK(std::min(width, height) * static_cast<float>(transform.shorter_side_needed(rng)) / 200 > 18.5F);
  }
  Augmentation jitter;
  jitter.color_jitter = ColorJitter{};
  CHECK(run(Transform(200, kPlain, jitter), image, CounterRng(0)) ==
        run(Transform(200, kPlain), image, CounterRng(0)));
  jitter.color_jitter = ColorJitter{0.5F, 0, 0};
  CounterRng rng(9);
  auto out = run(Transform(200, kPlain, jitter), image, rng);
  float factor = rng.uniform(0.5F, 1.5F);
  for (size_t x = 0; x < 200; ++x)
    CHECK(std::abs(out[x * 3] - std::min(255.0F, factor * static_cast<float>(x))) <= 0.51F);
  jitter.color_jitter = ColorJitter{0, 0, 2.0F};
  CHECK_THROWS_AS(Transform(32, kPlain, jitter), Error);
  CHECK_THROWS_AS(Transform(0, kPlain), Error);
}

TEST_CASE("batches are normalised channels_last tensors of every sample once") {
  auto data = generated_dataset(50, 3, 0);
  LoaderOptions options;
  options.batch_size = 16;
  Loader loader(data, options);
  CHECK(loader.steps_per_epoch() == 4);
  CHECK_FALSE(loader.next());  // no epoch begun
  loader.start_epoch(0);
  auto batches = rest_of_epoch(loader);
  REQUIRE(batches.size() == 4);
  CHECK(batches[3].images.sizes() == torch::IntArrayRef({2, 3, 32, 32}));
  CHECK(batches[0].images.is_contiguous(torch::MemoryFormat::ChannelsLast));
  CHECK(batches[0].labels.dtype() == torch::kInt64);
  Image image = data->image(21);
  for (int64_t c = 0; c < 3; ++c) {
    auto channel = static_cast<size_t>(c);
    float expected =
        (static_cast<float>(image.pixel(11, 13)[c]) / 255.0F - options.normalization.mean[channel]) /
        options.normalization.std[channel];
    CHECK(batches[1].images[5][c][11][13].item<float>() == expected);
  }
  CHECK(batches[1].labels[5].item<int64_t>() == 1);
  CHECK_FALSE(loader.next());
  CHECK_THROWS_AS(loader.start_epoch(0, 5), Error);
  options.batch_size = 0;
  CHECK_THROWS_AS(Loader(data, options), Error);
}

TEST_CASE("batches do not depend on the number of workers, and an epoch can be resumed inside") {
  std::shared_ptr<const Dataset> data = generated_dataset(230, 3, 0);
  Loader plain(data, training(16, 0));
  plain.start_epoch(4);
  auto expected = rest_of_epoch(plain);
  REQUIRE(expected.size() == 15);
  for (int64_t workers : {1, 2, 5}) {
    auto options = training(16, workers);
    options.prefetch = workers == 5 ? 1 : 4;
    Loader loader(data, options);
    loader.start_epoch(3);
    loader.next();
    loader.start_epoch(4);  // drops what was prefetched
    CHECK(same_batches(expected, rest_of_epoch(loader)));
    loader.start_epoch(4, 11);
    CHECK(same_batches(expected, rest_of_epoch(loader), 11));
  }
  plain.start_epoch(5);
  auto other = rest_of_epoch(plain);
  CHECK_FALSE(expected[0].labels.equal(other[0].labels));
  for (const auto& epoch : {expected, other}) {
    auto counts = torch::zeros({10}, torch::kInt64);
    for (const auto& batch : epoch) counts += torch::bincount(batch.labels, {}, 10);
    CHECK(counts.eq(23).all().item<bool>());
  }
}

TEST_CASE("shards share every global batch") {
  std::shared_ptr<const Dataset> data = generated_dataset(70, 3, 0);
  auto options = training(16, 1);
  options.drop_last = true;
  options.augmentation = {};
  Loader whole(data, options);
  options.batch_size = 8;
  options.shards = 2;
  Loader left(data, options);
  options.shard = 1;
  Loader right(data, options);
  REQUIRE(whole.steps_per_epoch() == 4);
  REQUIRE(left.steps_per_epoch() == 4);
  for (Loader* loader : {&whole, &left, &right}) loader->start_epoch(2);
  for (int i = 0; i < 4; ++i) {
    auto parts = torch::cat({left.next()->images, right.next()->images});
    CHECK(parts.equal(whole.next()->images));
  }
}

TEST_CASE("a worker's error reaches next() with the file's name, and the batches after it follow") {
  Scratch scratch;
  for (const char* split : {"train", "val"})
    for (int i = 0; i < 12; ++i)
      scratch.write(std::string(split) + "/only/" + std::to_string(10 + i) + ".bmp", bmp(4, 4, noise(48, 1)));
  scratch.write("train/only/15.bmp", "BMbroken");
  auto sets = open_datasets(scratch.path(), {.image_size = 4});
  for (int64_t workers : {0, 2}) {
    LoaderOptions options;
    options.batch_size = 4;
    options.workers = workers;
    options.image_size = 4;
    Loader loader(sets.train, options);
    loader.start_epoch(0);
    CHECK(loader.next());
    CHECK_THAT(message_of([&] { loader.next(); }), ContainsSubstring("train/only/15.bmp"));
    CHECK(loader.next()->labels.numel() == 4);
    CHECK_FALSE(loader.next());
  }
}

TEST_CASE("a loader can be dropped and restarted at any moment") {
  std::shared_ptr<const Dataset> data = generated_dataset(300, 1, 0);
  for (int round = 0; round < 30; ++round) {
    Loader loader(data, training(8, 3));
    loader.start_epoch(round);
    for (int i = 0; i < round % 4; ++i) loader.next();
    if (round % 2 == 0) loader.start_epoch(round + 1, 3);
    if (round % 3 == 0) CHECK(loader.next()->labels.numel() == 8);
  }
}
