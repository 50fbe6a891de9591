// SPDX-License-Identifier: Apache-2.0
// What a detection loader refuses, and how its order goes by its options.
#include "memory_objects.hpp"
#include "sparsify/detection/loader.hpp"
#include "trainers/data_files.hpp"

#include <catch2/catch_test_macros.hpp>

#include <cmath>
#include <set>

using namespace sparsify::detection;
using namespace detection_test;
using data_test::message_of;

namespace {

using Options = DetectionLoaderOptions;
using Indices = std::vector<std::int64_t>;

const std::string kStart = "detection loader: ";

std::shared_ptr<MemoryObjects> eleven_images() {
  auto images = std::make_shared<MemoryObjects>();
  for (std::int64_t i = 0; i < 11; ++i) images->add(20 + i, 30, {{2, 3, 14, 15, i % 4}});
  return images;
}

Options small() {
  Options options;
  options.batch_size = 3, options.image_size = 64, options.workers = 0;
  return options;
}

template <class Change>
std::string refusal(const Change& change) {
  auto options = small();
  change(options);
  return message_of([&] { DetectionLoader loader(eleven_images(), options); });
}

Indices order_of(const Options& options, std::int64_t epoch = 0) {
  DetectionLoader loader(eleven_images(), options);
  loader.start_epoch(epoch);
  Indices order;
  while (const auto batch = loader.next())
    order.insert(order.end(), batch->indices.begin(), batch->indices.end());
  return order;
}

Indices first(std::int64_t count) {
  Indices order;
  for (std::int64_t i = 0; i < count; ++i) order.push_back(i);
  return order;
}

}  // namespace

TEST_CASE("options of detection loaders outside their range") {
  CHECK(refusal([](Options& o) { o.batch_size = 0; }) == kStart + "batch_size: expected at least 1, got 0");
  CHECK(refusal([](Options& o) { o.stride = 0; }) == kStart + "stride: expected at least 1, got 0");
  CHECK(refusal([](Options& o) { o.image_size = -64; }) ==
        kStart + "image_size: expected at least 1, got -64");
  CHECK(refusal([](Options& o) { o.image_size = 100; }) ==
        kStart + "image_size: expected a multiple of the stride 32, got 100");
  CHECK(refusal([](Options& o) { o.prefetch = 0; }) == kStart + "prefetch: expected at least 1, got 0");
  CHECK(refusal([](Options& o) { o.workers = -1; }) == kStart + "workers: expected 0 or more, got -1");
  for (const double wrong : {-0.1, 1.0, std::nan("")})
    CHECK(refusal([&](Options& o) { o.multi_scale = wrong; }) ==
          kStart + "multi_scale: expected 0 to below 1, got " + std::to_string(wrong));
}

TEST_CASE("rectangular batches are incompatible with what would undo their shapes") {
  const auto together = kStart + "rectangular: not together with augment, shuffle or multi_scale";
  CHECK(refusal([](Options& o) { o.rectangular = o.augment = true; }) == together);
  CHECK(refusal([](Options& o) { o.rectangular = o.shuffle = true; }) == together);
  CHECK(refusal([](Options& o) { o.rectangular = true, o.multi_scale = 0.5; }) == together);
}

TEST_CASE("a detection loader wants images, and an epoch's batches") {
  const auto empty = std::make_shared<MemoryObjects>();
  auto options = small();
  for (const std::int64_t workers : {0, 2}) {
    options.workers = workers;
    CHECK(message_of([&] { DetectionLoader loader(nullptr, options); }) == kStart + "the data set is empty");
    CHECK(message_of([&] { DetectionLoader loader(empty, options); }) == kStart + "the data set is empty");
  }
  DetectionLoader loader(eleven_images(), small());
  CHECK(message_of([&] { loader.start_epoch(0, 5); }) == kStart + "first_batch: expected 0 to 4, got 5");
  CHECK(message_of([&] { loader.start_epoch(0, -1); }) == kStart + "first_batch: expected 0 to 4, got -1");
  loader.start_epoch(0, 4);
  CHECK(!loader.next());
}

TEST_CASE("every epoch and every seed shuffles in a way of its own; unshuffled, all are alike") {
  auto options = small();
  CHECK(order_of(options, 0) == first(11));
  CHECK(order_of(options, 1) == first(11));
  options.shuffle = true;
  std::set<Indices> orders{first(11)};
  for (const std::uint64_t seed : {0, 1})
    for (const std::int64_t epoch : {0, 1, 2, 3}) {
      options.seed = seed;
      const auto order = order_of(options, epoch);
      CHECK(std::set<std::int64_t>(order.begin(), order.end()).size() == 11);
      CHECK(order.size() == 11);
      orders.insert(order);
    }
  CHECK(orders.size() == 9);
}

TEST_CASE("an incomplete batch is dropped on demand only") {
  auto options = small();
  options.drop_last = true;
  CHECK(order_of(options) == first(9));
  options.batch_size = 11;
  CHECK(order_of(options) == first(11));
  options.batch_size = 12;
  CHECK(order_of(options).empty());
  options.drop_last = false;
  CHECK(order_of(options) == first(11));
}

TEST_CASE("the message of an image that cannot be read comes in its place") {
  const auto images = eleven_images();
  images->make_unreadable(4);
  for (const std::int64_t workers : {0, 1, 3}) {
    auto options = small();
    options.workers = workers;
    DetectionLoader loader(images, options);
    for (const std::int64_t epoch : {0, 1}) {
      loader.start_epoch(epoch);
      CHECK(loader.next()->indices == first(3));
      CHECK(message_of([&] { loader.next(); }) == "image 4: cannot be read");
      CHECK(loader.next()->indices == Indices{6, 7, 8});
    }
  }  // and it ends though a batch is left
}
