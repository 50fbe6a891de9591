// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <cmath>
#include <set>

#include "memory_objects.hpp"
#include "sparsify/detection/loader.hpp"
#include "sparsify/error.hpp"

using namespace sparsify::detection;
using namespace detection_test;
using sparsify::trainers::DataError;

namespace {

// Of many shapes, some without objects.
std::shared_ptr<MemoryObjects> many_images(std::int64_t count) {
  auto images = std::make_shared<MemoryObjects>();
  for (std::int64_t i = 0; i < count; ++i) {
    const auto x = static_cast<float>(5 + i % 7), y = static_cast<float>(8 + i % 5);
    std::vector<GroundTruth> objects;
    if (i % 5 != 4) objects.push_back({x, y, x + 28, y + 20, i % 4});
    images->add(40 + i * 13 % 60, 48 + i * 29 % 70, objects);
  }
  return images;
}

DetectionLoaderOptions plain(std::int64_t batch_size, std::int64_t image_size) {
  DetectionLoaderOptions options;
  options.batch_size = batch_size, options.image_size = image_size;
  options.workers = 0;
  return options;
}

DetectionLoaderOptions training(std::int64_t workers) {
  auto options = plain(4, 64);
  options.workers = workers;
  options.shuffle = options.augment = true;
  options.hyp.degrees = 5, options.hyp.mixup = 0.3;
  options.multi_scale = 0.5;
  options.seed = 7;
  return options;
}

std::vector<DetectionBatch> rest_of_epoch(DetectionLoader& loader) {
  std::vector<DetectionBatch> batches;
  while (auto batch = loader.next()) batches.push_back(std::move(*batch));
  return batches;
}

std::vector<DetectionBatch> epoch_of(DetectionLoader& loader, std::int64_t epoch, std::int64_t first = 0) {
  loader.start_epoch(epoch, first);
  return rest_of_epoch(loader);
}

bool same_batches(const std::vector<DetectionBatch>& a, const std::vector<DetectionBatch>& b,
                  std::size_t skip = 0) {
  if (a.size() != b.size() + skip) return false;
  for (std::size_t i = 0; i < b.size(); ++i)
    if (!a[i + skip].images.equal(b[i].images) || !a[i + skip].targets.equal(b[i].targets) ||
        a[i + skip].indices != b[i].indices)
      return false;
  return true;
}

GroundTruth box_of(const DetectionBatch& batch, std::int64_t target) {
  const auto* row = batch.targets.data_ptr<float>() + target * 6;
  const auto height = static_cast<float>(batch.images.size(2)),
             width = static_cast<float>(batch.images.size(3));
  return {(row[2] - row[4] / 2) * width, (row[3] - row[5] / 2) * height, (row[2] + row[4] / 2) * width,
          (row[3] + row[5] / 2) * height, static_cast<std::int64_t>(row[1])};
}

GroundTruth box_drawn_in(const DetectionBatch& batch, std::int64_t image, std::int64_t label) {
  const auto pixels = batch.images.accessor<float, 4>();
  return drawn_box(
      batch.images.size(2), batch.images.size(3), label,
      [&](std::int64_t y, std::int64_t x, std::int64_t c) { return pixels[image][c][y][x] * 255; });
}

// Every target lies on its pixels, and `to_image` finds the object again.
void check_targets(const DetectionBatch& batch, const MemoryObjects& images) {
  for (std::int64_t i = 0; i < batch.targets.size(0); ++i) {
    const auto position = static_cast<std::int64_t>(batch.targets[i][0].item<float>());
    const auto index = batch.indices[static_cast<std::size_t>(position)];
    const auto box = box_of(batch, i);
    INFO("image " << index);
    CHECK(apart(box, box_drawn_in(batch, position, box.label)) <= 1);
    const auto back = to_image({{box.x1, box.y1, box.x2, box.y2, 1, box.label}},
                               batch.placements[static_cast<std::size_t>(position)]);
    CHECK(apart({back[0].x1, back[0].y1, back[0].x2, back[0].y2, box.label}, images.objects(index).at(0)) <
          0.01F);
  }
}

std::int64_t objects_of(const MemoryObjects& images) {
  std::int64_t count = 0;
  for (std::int64_t i = 0; i < images.size(); ++i)
    count += static_cast<std::int64_t>(images.objects(i).size());
  return count;
}

}  // namespace

TEST_CASE("a letterboxed image lies in the middle, as large as fits, on grey") {
  MemoryObjects images;
  images.add(30, 60, {{10, 6, 40, 24, 0}});
  const auto boxed = letterboxed(images.image(0, 0), 128);
  CHECK(boxed.placement.scale_x == 128.0 / 60);
  CHECK(boxed.placement.left == 0);
  CHECK(boxed.placement.top == 32);
  const auto rows = boxed.pixels[0][0].select(1, 0);  // the first column's red
  for (const std::int64_t y : {0, 31, 96, 127}) CHECK(std::abs(rows[y].item<float>() - 114.F / 255) < 1e-6F);
  for (const std::int64_t y : {32, 95}) CHECK(rows[y].item<float>() == 0);
  const auto clipped = to_image({{-5, -5, 500, 500, 1, 0}}, boxed.placement);
  CHECK(apart({clipped[0].x1, clipped[0].y1, clipped[0].x2, clipped[0].y2, 0}, {0, 0, 60, 30, 0}) == 0);
}

TEST_CASE("batches hold every image once, with targets where the objects are drawn") {
  const auto images = many_images(23);
  DetectionLoader loader(images, plain(4, 96));
  CHECK_FALSE(loader.next());  // no epoch begun
  REQUIRE(loader.steps_per_epoch() == 6);
  const auto batches = epoch_of(loader, 0);
  REQUIRE(batches.size() == 6);
  std::int64_t index = 0, targets = 0;
  for (const auto& batch : batches) {
    CHECK(batch.images.is_contiguous(torch::MemoryFormat::ChannelsLast));
    CHECK(batch.images.size(2) == 96);
    CHECK(batch.images.size(0) == static_cast<std::int64_t>(batch.indices.size()));
    CHECK(batch.placements.size() == batch.indices.size());
    for (const auto of_image : batch.indices) CHECK(of_image == index++);
    check_targets(batch, *images);
    targets += batch.targets.size(0);
  }
  CHECK(batches.back().indices.size() == 3);
  CHECK(targets == objects_of(*images));
  auto options = plain(4, 96);
  options.drop_last = true;
  CHECK(DetectionLoader(images, options).steps_per_epoch() == 5);
}

TEST_CASE("a batch without objects has targets of no rows") {
  auto images = std::make_shared<MemoryObjects>();
  images->add(20, 20, {});
  for (const bool augment : {false, true}) {
    auto options = plain(1, 32);
    options.augment = augment;
    DetectionLoader loader(images, options);
    loader.start_epoch(0);
    CHECK(loader.next()->targets.sizes() == torch::IntArrayRef({0, 6}));
  }
}

TEST_CASE("rectangular batches hold all images and are no larger than they need") {
  const auto images = many_images(23);
  auto options = plain(4, 128);
  options.rectangular = true;
  DetectionLoader loader(images, options);
  std::set<std::int64_t> seen;
  std::int64_t targets = 0;
  double last_shape = 0;
  for (const auto& batch : epoch_of(loader, 0)) {
    double height = 0, width = 0;
    for (const auto index : batch.indices) {
      seen.insert(index);
      const auto size = images->image_size(index);
      const double scale = 128.0 / static_cast<double>(std::max(size.height, size.width));
      height = std::max(height, std::round(static_cast<double>(size.height) * scale));
      width = std::max(width, std::round(static_cast<double>(size.width) * scale));
      const double shape = static_cast<double>(size.height) / static_cast<double>(size.width);
      CHECK(shape >= last_shape);
      last_shape = shape;
    }
    CHECK(batch.images.size(2) % 32 == 0);
    CHECK(batch.images.size(3) % 32 == 0);
    CHECK(static_cast<double>(batch.images.size(2)) >= height);
    CHECK(static_cast<double>(batch.images.size(2)) < height + 32);
    CHECK(static_cast<double>(batch.images.size(3)) >= width);
    CHECK(static_cast<double>(batch.images.size(3)) < width + 32);
    check_targets(batch, *images);
    targets += batch.targets.size(0);
  }
  CHECK(seen.size() == 23);
  CHECK(targets == objects_of(*images));
}

TEST_CASE("batches of objects do not depend on the number of workers, nor on where an epoch is begun") {
  const auto images = many_images(23);
  DetectionLoader reference(images, training(0));
  const auto expected = epoch_of(reference, 4);
  REQUIRE(expected.size() == 6);
  std::set<std::int64_t> seen;
  for (const auto& batch : expected) seen.insert(batch.indices.begin(), batch.indices.end());
  CHECK(seen.size() == 23);
  for (const std::int64_t workers : {0, 1, 3}) {
    auto options = training(workers);
    options.prefetch = workers == 3 ? 1 : 4;
    DetectionLoader loader(images, options);
    loader.start_epoch(3);
    loader.next();
    CHECK(same_batches(expected, epoch_of(loader, 4)));  // what was made ahead is dropped
    CHECK(same_batches(expected, epoch_of(loader, 4, 4), 4));
    CHECK_FALSE(same_batches(expected, epoch_of(loader, 5)));
  }
  for (const auto& batch : expected) {
    if (batch.targets.size(0) == 0) continue;
    CHECK(batch.targets.slice(1, 2).min().item<float>() >= 0);
    CHECK(batch.targets.slice(1, 2).max().item<float>() <= 1);
  }
}

TEST_CASE("sides are drawn from the whole range, apart for every seed") {
  const auto images = many_images(23);
  const auto sides_of = [&](std::uint64_t seed) {
    auto options = plain(1, 64);
    options.multi_scale = 0.5, options.seed = seed;
    DetectionLoader loader(images, options);
    std::vector<std::int64_t> sides;
    for (const auto& batch : epoch_of(loader, 0)) sides.push_back(batch.images.size(2));
    return sides;
  };
  const auto sides = sides_of(7), others = sides_of(8);
  CHECK(std::set<std::int64_t>(sides.begin(), sides.end()) == std::set<std::int64_t>{32, 64, 96});
  CHECK_FALSE(std::equal(sides.begin() + 1, sides.end(), others.begin()));
}

TEST_CASE("an image that cannot be read ends its batch only") {
  const auto images = many_images(12);
  images->make_unreadable(5);
  for (const std::int64_t workers : {0, 1, 3}) {
    auto options = plain(4, 64);
    options.workers = workers;
    DetectionLoader loader(images, options);
    loader.start_epoch(0);
    CHECK(loader.next()->indices.front() == 0);
    CHECK_THROWS_AS(loader.next(), DataError);
    CHECK(loader.next()->indices.front() == 8);
    CHECK_FALSE(loader.next());
  }
}

TEST_CASE("a detection loader refuses what it cannot do") {
  const auto images = many_images(5);
  const auto refused = [&](auto change) {
    auto options = plain(4, 64);
    change(options);
    CHECK_THROWS_AS(DetectionLoader(images, options), sparsify::Error);
  };
  refused([](auto& options) { options.batch_size = 0; });
  refused([](auto& options) { options.image_size = 65; });
  refused([](auto& options) { options.workers = -1; });
  refused([](auto& options) { options.prefetch = 0; });
  refused([](auto& options) { options.multi_scale = 1; });
  refused([](auto& options) { options.augment = options.rectangular = true; });
  CHECK_THROWS_AS(DetectionLoader(std::make_shared<MemoryObjects>(), plain(4, 64)), sparsify::Error);
  CHECK_THROWS_AS(DetectionLoader(images, plain(4, 64)).start_epoch(0, 3), sparsify::Error);
}
