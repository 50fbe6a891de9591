// SPDX-License-Identifier: Apache-2.0
// Order, shapes and contents of the batches that detectors are fed with.
#include "pictures.hpp"

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <cmath>
#include <set>

#include "sparsify/detection/loader.hpp"
#include "trainers/data_files.hpp"

using namespace sparsify::detection;
using namespace detection_test;
using data_test::message_of;

namespace {

using Indices = std::vector<std::int64_t>;

/// Pictures of eleven shapes, most of them with objects.
std::shared_ptr<Pictures> eleven_pictures() {
  std::vector<Picture> pictures;
  for (std::int64_t i = 0; i < 11; ++i) {
    Picture picture{{60 + i * 37 % 90, 60 + i * 53 % 110}, {}};
    const auto height = static_cast<float>(picture.size.height),
               width = static_cast<float>(picture.size.width);
    if (i % 5 != 4)
      picture.objects.push_back({4, 6, std::floor(width / 2), std::floor(height / 3) * 2, i % 5});
    if (i % 3 == 1)
      picture.objects.push_back({std::floor(width / 2) + 3, 8, width - 4, height - 6, (i + 1) % 5});
    pictures.push_back(picture);
  }
  return std::make_shared<Pictures>(std::move(pictures));
}

DetectionLoaderOptions small(std::int64_t workers = 0) {
  DetectionLoaderOptions options;
  options.batch_size = 3, options.image_size = 64, options.workers = workers;
  return options;
}

std::vector<DetectionBatch> rest_of_epoch(DetectionLoader& loader) {
  std::vector<DetectionBatch> batches;
  while (auto batch = loader.next()) batches.push_back(std::move(*batch));
  CHECK(!loader.next());
  return batches;
}

std::vector<DetectionBatch> epoch_of(const std::shared_ptr<Pictures>& pictures,
                                     const DetectionLoaderOptions& options, std::int64_t epoch = 0,
                                     std::int64_t first_batch = 0) {
  DetectionLoader loader(pictures, options);
  loader.start_epoch(epoch, first_batch);
  return rest_of_epoch(loader);
}

Indices order_of(const std::vector<DetectionBatch>& batches) {
  Indices order;
  for (const auto& batch : batches) order.insert(order.end(), batch.indices.begin(), batch.indices.end());
  return order;
}

Indices in_order(std::int64_t count) {
  Indices order;
  for (std::int64_t i = 0; i < count; ++i) order.push_back(i);
  return order;
}

Indices sorted(Indices order) {
  std::sort(order.begin(), order.end());
  return order;
}

bool are_same(const DetectionBatch& a, const DetectionBatch& b) {
  return a.indices == b.indices && torch::equal(a.images, b.images) && torch::equal(a.targets, b.targets);
}

bool are_same(const std::vector<DetectionBatch>& a, const std::vector<DetectionBatch>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const auto& one, const auto& other) { return are_same(one, other); });
}

/// What a training run asks for.
DetectionLoaderOptions augmenting(std::int64_t workers) {
  auto options = small(workers);
  options.augment = options.shuffle = true;
  options.multi_scale = 0.5;
  options.seed = 3;
  return options;
}

/// The objects of one image of a batch, in its pixels.
std::vector<GroundTruth> targets_of(const DetectionBatch& batch, std::int64_t image) {
  const auto height = static_cast<float>(batch.images.size(2)),
             width = static_cast<float>(batch.images.size(3));
  const auto targets = batch.targets.accessor<float, 2>();
  std::vector<GroundTruth> objects;
  for (std::int64_t row = 0; row < targets.size(0); ++row) {
    const auto* value = targets[row].data();
    if (value[0] == static_cast<float>(image))
      objects.push_back({(value[2] - value[4] / 2) * width, (value[3] - value[5] / 2) * height,
                         (value[2] + value[4] / 2) * width, (value[3] + value[5] / 2) * height,
                         static_cast<std::int64_t>(value[1])});
  }
  return objects;
}

/// Every target lies at the pixels of its object, in the image that it refers to, and none is missing.
void check_targets(const std::vector<DetectionBatch>& batches, const Pictures& pictures) {
  for (const auto& batch : batches) {
    const auto pixels = batch.images.accessor<float, 4>();
    std::size_t rows = 0;
    for (std::int64_t i = 0; i < batch.images.size(0); ++i) {
      const auto index = batch.indices.at(static_cast<std::size_t>(i));
      const auto targets = targets_of(batch, i);
      rows += targets.size();
      REQUIRE(targets.size() == pictures.objects(index).size());
      for (std::size_t k = 0; k < targets.size(); ++k) {
        INFO("picture " << index << ", object " << k);
        CHECK(targets[k].label == pictures.objects(index)[k].label);
        const auto found = seen(targets[k].label, batch.images.size(2), batch.images.size(3),
                                [&](auto y, auto x, auto c) { return pixels[i][c][y][x] * 255; });
        REQUIRE(found.has_value());
        CHECK(apart(*found, targets[k]) < 1.5);
      }
    }
    CHECK(static_cast<std::size_t>(batch.targets.size(0)) == rows);
  }
}

std::string refusal(const DetectionLoaderOptions& options) {
  return message_of([&] { DetectionLoader loader(eleven_pictures(), options); });
}

}  // namespace

TEST_CASE("detection batches have the shapes and kinds that are promised") {
  const auto batches = epoch_of(eleven_pictures(), small());
  REQUIRE(batches.size() == 4);
  CHECK(order_of(batches) == in_order(11));
  CHECK(batches[0].images.sizes() == torch::IntArrayRef{3, 3, 64, 64});
  CHECK(batches[3].images.sizes() == torch::IntArrayRef{2, 3, 64, 64});
  for (const auto& batch : batches) {
    CHECK(batch.images.scalar_type() == torch::kFloat);
    CHECK(batch.images.is_contiguous(torch::MemoryFormat::ChannelsLast));
    CHECK(batch.images.min().item<float>() >= 0);
    CHECK(batch.images.max().item<float>() <= 1);
    CHECK(batch.targets.scalar_type() == torch::kFloat);
    CHECK(batch.targets.size(1) == 6);
    CHECK(batch.placements.size() == batch.indices.size());
  }
}

TEST_CASE("targets are parts of the input and refer to their image") {
  const auto pictures = eleven_pictures();
  check_targets(epoch_of(pictures, small()), *pictures);
  auto options = small();
  options.shuffle = true;
  check_targets(epoch_of(pictures, options, 2), *pictures);
  options.shuffle = false;
  options.rectangular = true;
  check_targets(epoch_of(pictures, options), *pictures);
}

TEST_CASE("a batch without any object has no targets") {
  const auto pictures = std::make_shared<Pictures>(std::vector<Picture>{{{20, 20}, {}}, {{30, 20}, {}}});
  const auto batches = epoch_of(pictures, small());
  REQUIRE(batches.size() == 1);
  CHECK(batches[0].targets.sizes() == torch::IntArrayRef{0, 6});
}

TEST_CASE("batches are the same for every number of workers and of batches made ahead") {
  const auto pictures = eleven_pictures();
  for (const auto& options_for : {small, augmenting}) {
    const auto alone = epoch_of(pictures, options_for(0), 5);
    for (const std::int64_t workers : {1, 3})
      for (const std::int64_t prefetch : {1, 4}) {
        auto options = options_for(workers);
        options.prefetch = prefetch;
        INFO(workers << " workers, " << prefetch << " ahead");
        CHECK(are_same(alone, epoch_of(pictures, options, 5)));
      }
  }
}

TEST_CASE("an epoch begun in its middle goes on as an undisturbed one") {
  const auto pictures = eleven_pictures();
  for (const std::int64_t workers : {0, 2}) {
    const auto whole = epoch_of(pictures, augmenting(workers), 1);
    REQUIRE(whole.size() == 4);
    for (const std::int64_t first : {1, 3, 4})
      CHECK(
          are_same({whole.begin() + first, whole.end()}, epoch_of(pictures, augmenting(workers), 1, first)));
    // After part of another epoch, too.
    DetectionLoader loader(pictures, augmenting(workers));
    loader.start_epoch(0);
    loader.next();
    loader.start_epoch(1, 2);
    CHECK(are_same({whole.begin() + 2, whole.end()}, rest_of_epoch(loader)));
    loader.start_epoch(1);
    CHECK(are_same(whole, rest_of_epoch(loader)));
  }
  DetectionLoader loader(pictures, small());
  CHECK(!loader.next());
  CHECK(message_of([&] { loader.start_epoch(0, 5); }) ==
        "detection loader: first_batch: expected 0 to 4, got 5");
  CHECK(message_of([&] { loader.start_epoch(0, -1); }) ==
        "detection loader: first_batch: expected 0 to 4, got -1");
}

TEST_CASE("every image comes once an epoch, in an order of its own if shuffled") {
  const auto pictures = eleven_pictures();
  auto options = small(1);
  options.shuffle = true;
  std::set<Indices> orders;
  for (const std::int64_t epoch : {0, 1, 2, 3}) {
    const auto order = order_of(epoch_of(pictures, options, epoch));
    CHECK(sorted(order) == in_order(11));
    orders.insert(order);
  }
  options.seed = 1;
  orders.insert(order_of(epoch_of(pictures, options, 0)));
  orders.insert(in_order(11));
  CHECK(orders.size() == 6);
  CHECK(sorted(order_of(epoch_of(pictures, augmenting(1)))) == in_order(11));
}

TEST_CASE("an incomplete batch is dropped on demand") {
  auto options = small();
  options.drop_last = true;
  const auto batches = epoch_of(eleven_pictures(), options);
  CHECK(batches.size() == 3);
  CHECK(order_of(batches) == in_order(9));
  options.batch_size = 11;
  CHECK(epoch_of(eleven_pictures(), options).size() == 1);
  options.batch_size = 12;
  CHECK(epoch_of(eleven_pictures(), options).empty());
  options.drop_last = false;
  CHECK(epoch_of(eleven_pictures(), options).size() == 1);
}

TEST_CASE("rectangular batches hold all images and are as small as multiples of the stride allow") {
  const auto pictures = eleven_pictures();
  auto options = small();
  options.rectangular = true, options.stride = 8;
  const auto batches = epoch_of(pictures, options);
  CHECK(sorted(order_of(batches)) == in_order(11));
  double last_shape = 0;
  for (const auto& batch : batches) {
    std::int64_t height = 0, width = 0;
    for (std::size_t i = 0; i < batch.indices.size(); ++i) {
      const auto size = pictures->image_size(batch.indices[i]);
      const auto longer = std::max(size.height, size.width);
      height = std::max(height,
                        std::lround(64.0 * static_cast<double>(size.height) / static_cast<double>(longer)));
      width =
          std::max(width, std::lround(64.0 * static_cast<double>(size.width) / static_cast<double>(longer)));
      const double shape = static_cast<double>(size.height) / static_cast<double>(size.width);
      CHECK(shape >= last_shape);
      last_shape = shape;
      const auto& placement = batch.placements[i];
      CHECK(placement.image.height == size.height);
      CHECK(placement.scale_x * static_cast<double>(longer) <= 64.5);
      CHECK(placement.scale_x * static_cast<double>(longer) >= 62.5);
    }
    CHECK(batch.images.size(2) == (height + 7) / 8 * 8);
    CHECK(batch.images.size(3) == (width + 7) / 8 * 8);
  }
}

TEST_CASE("drawn sizes are multiples of the stride within their range, and all of them occur") {
  auto options = small();
  options.batch_size = 11, options.image_size = 96, options.multi_scale = 0.4;  // 57.6 to 134.4
  std::set<std::int64_t> sides;
  for (std::int64_t epoch = 0; epoch < 20; ++epoch)
    for (const auto& batch : epoch_of(eleven_pictures(), options, epoch)) {
      CHECK(batch.images.size(2) == batch.images.size(3));
      sides.insert(batch.images.size(2));
    }
  CHECK(sides == std::set<std::int64_t>{64, 96, 128});
  options.multi_scale = 0.1;  // 86.4 to 105.6
  CHECK(epoch_of(eleven_pictures(), options).at(0).images.size(2) == 96);
}

TEST_CASE("augmented targets lie within the input") {
  auto options = augmenting(1);
  options.hyp.degrees = 30, options.hyp.mixup = 0.5;
  std::int64_t count = 0;
  for (std::int64_t epoch = 0; epoch < 5; ++epoch)
    for (const auto& batch : epoch_of(eleven_pictures(), options, epoch)) {
      for (std::int64_t image = 0; image < batch.images.size(0); ++image)
        for (const auto& box : targets_of(batch, image)) {
          const auto side = static_cast<float>(batch.images.size(2)) + 1e-3F;
          CHECK((box.x1 >= -1e-3F && box.y1 >= -1e-3F && box.x2 <= side && box.y2 <= side));
          CHECK((box.x2 - box.x1 > 2 && box.y2 - box.y1 > 2));
          ++count;
        }
      CHECK((batch.targets.size(0) == 0 ||
             batch.targets.select(1, 0).max().item<float>() < static_cast<float>(batch.images.size(0))));
    }
  CHECK(count > 55);
}

TEST_CASE("an image that cannot be read costs its batch only") {
  const auto pictures = eleven_pictures();
  const auto good = epoch_of(pictures, small());
  pictures->broken = 4;
  for (const std::int64_t workers : {0, 1, 3}) {
    DetectionLoader loader(pictures, small(workers));
    loader.start_epoch(0);
    CHECK(are_same(loader.next().value(), good[0]));
    CHECK_THROWS_AS(loader.next(), sparsify::trainers::DataError);
    CHECK(are_same(loader.next().value(), good[2]));
    CHECK(are_same(loader.next().value(), good[3]));
    CHECK(!loader.next());
    loader.start_epoch(1);
    loader.next();
    CHECK(message_of([&] { loader.next(); }) == "picture 4: broken");
  }  // and ends though batches are left
}

TEST_CASE("options of detection loaders outside their range") {
  using Options = DetectionLoaderOptions;
  const auto with = [](const auto& change) {
    auto options = small();
    change(options);
    return refusal(options);
  };
  const std::string start = "detection loader: ";
  CHECK(with([](Options& o) { o.batch_size = 0; }) == start + "batch_size: expected at least 1, got 0");
  CHECK(with([](Options& o) { o.stride = 0; }) == start + "stride: expected at least 1, got 0");
  CHECK(with([](Options& o) { o.image_size = -64; }) == start + "image_size: expected at least 1, got -64");
  CHECK(with([](Options& o) { o.image_size = 100; }) ==
        start + "image_size: expected a multiple of the stride 32, got 100");
  CHECK(with([](Options& o) { o.prefetch = 0; }) == start + "prefetch: expected at least 1, got 0");
  CHECK(with([](Options& o) { o.workers = -1; }) == start + "workers: expected 0 or more, got -1");
  for (const double wrong : {-0.1, 1.0, std::nan("")})
    CHECK(with([&](Options& o) { o.multi_scale = wrong; }) ==
          start + "multi_scale: expected 0 to below 1, got " + std::to_string(wrong));
  const auto together = start + "rectangular: not together with augment, shuffle or multi_scale";
  CHECK(with([](Options& o) { o.rectangular = o.augment = true; }) == together);
  CHECK(with([](Options& o) { o.rectangular = o.shuffle = true; }) == together);
  CHECK(with([](Options& o) { o.rectangular = true, o.multi_scale = 0.5; }) == together);
  CHECK(message_of([&] { DetectionLoader loader(nullptr, small()); }) == start + "the data set is empty");
  CHECK(message_of([&] {
          DetectionLoader loader(std::make_shared<Pictures>(std::vector<Picture>{}), small(2));
        }) == start + "the data set is empty");
}
