// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <random>

#include "sparsify/detection/average_precision.hpp"
#include "sparsify/detection/boxes.hpp"

using namespace sparsify::detection;
using Catch::Approx;

namespace {

// Rows of centre x, y, width, height, objectness and two classes.
torch::Tensor rows(const std::vector<std::vector<float>>& values) {
  auto result = torch::empty({static_cast<std::int64_t>(values.size()), 7});
  for (std::size_t i = 0; i < values.size(); ++i)
    result[static_cast<std::int64_t>(i)] = torch::tensor(values[i]);
  return result;
}

}  // namespace

TEST_CASE("intersection over union") {
  const Detection a{0, 0, 4, 2}, b{2, 1, 6, 3}, far{10, 10, 11, 11}, empty{};
  CHECK(iou(a, b) == Approx(2.0 / 14));
  CHECK(iou(a, a) == 1);
  CHECK(iou(a, far) == 0);
  CHECK(iou(empty, empty) == 0);
}

TEST_CASE("non-maximum suppression keeps the best of each class") {
  const auto boxes = rows({{10, 10, 8, 8, 0.9F, 0.5F, 0.1F},    // 0.45
                           {10, 11, 8, 8, 0.9F, 0.8F, 0.1F},    // 0.72, covers the first
                           {10, 11, 8, 8, 0.9F, 0.1F, 0.7F},    // 0.63 of the other class
                           {30, 30, 4, 4, 0.5F, 0.9F, 0.6F},    // 0.45
                           {50, 50, 4, 4, 0.2F, 0.9F, 0.9F}});  // below
  const auto found = non_max_suppression(boxes);
  REQUIRE(found.size() == 3);
  CHECK(found[0].score == Approx(0.72));
  CHECK(found[0].x1 == 6);
  CHECK(found[0].y2 == 15);
  CHECK(found[1].label == 1);
  CHECK(found[2].x1 == 28);
  NmsOptions options;
  options.multi_label = true;
  CHECK(non_max_suppression(boxes, options).size() == 4);  // 30, 30 is of both classes
  options.max_det = 2;
  CHECK(non_max_suppression(boxes, options).size() == 2);
  options = {};
  options.iou = 0.9;
  CHECK(non_max_suppression(boxes, options).size() == 4);
  CHECK(non_max_suppression(boxes.narrow(0, 4, 1)).empty());
  CHECK(non_max_suppression(boxes.narrow(0, 0, 0)).empty());
  CHECK_THROWS(non_max_suppression(torch::zeros({3, 5})));
}

TEST_CASE("non-maximum suppression looks at no more boxes than max_nms, the best ones") {
  std::vector<std::vector<float>> apart;
  for (int i = 0; i < 100; ++i)
    apart.push_back({20.0F * static_cast<float>(i), 10, 8, 8, 0.3F + 0.005F * static_cast<float>(i), 1, 0});
  NmsOptions options;
  options.max_nms = 30;
  const auto found = non_max_suppression(rows(apart), options);
  REQUIRE(found.size() == 30);
  CHECK(found.front().x1 == 20 * 99 - 4);
  CHECK(found.back().x1 == 20 * 70 - 4);
}

TEST_CASE("boxes of equal score keep their order; NaN is nothing") {
  const auto nan = std::nanf("");
  const auto boxes =
      rows({{10, 10, 8, 8, nan, 1, 0}, {30, 10, 8, 8, 0.5F, 1, 0}, {50, 10, 8, 8, 0.5F, 1, 0}});
  for (int run = 0; run < 3; ++run) {
    const auto found = non_max_suppression(boxes);
    REQUIRE(found.size() == 2);
    CHECK(found[0].x1 == 26);
    CHECK(found[1].x1 == 46);
  }
}

TEST_CASE("average precision of a small case worked by hand") {
  // Two objects of class 0. Best first: a hit at IoU 0.8, a miss, a hit at IoU 1.
  const std::vector<GroundTruth> objects = {{0, 0, 10, 10, 0}, {20, 20, 30, 30, 0}, {50, 50, 60, 60, 1}};
  const std::vector<Detection> found = {
      {0, 0, 10, 8, 0.9F, 0}, {40, 0, 50, 10, 0.8F, 0}, {20, 20, 30, 30, 0.7F, 0}};
  AveragePrecision all_points(Interpolation::kAllPoints), coco;
  all_points.add(found, objects);
  coco.add(found, objects);
  // Precision 1 up to recall 1/2, then 2/3; 51 of the 101 points lie in the first half.
  const auto exact = all_points.compute(), usual = coco.compute();
  CHECK(exact.classes.at(0).ap50 == Approx(0.5 + 0.5 * 2 / 3));
  CHECK(usual.classes.at(0).ap50 == Approx((51 + 50 * 2.0 / 3) / 101));
  CHECK(exact.classes.at(0).objects == 2);
  // From 0.85 on the first box misses: one hit at the third place.
  CHECK(exact.classes.at(0).ap == Approx((7 * (0.5 + 1.0 / 3) + 3 * 0.5 / 3) / 10));
  // Class 1 has an object that nobody found.
  CHECK(exact.map50 == Approx((0.5 + 1.0 / 3) / 2));
}

TEST_CASE("an object is found once, and by the box that overlaps it most") {
  AveragePrecision metric(Interpolation::kAllPoints);
  metric.add({{0, 0, 10, 10, 0.9F, 0}, {0, 0, 10, 9, 0.8F, 0}}, {{0, 0, 10, 10, 0}});
  metric.add({{0, 0, 10, 10, 0.7F, 0}}, {{0, 0, 10, 10, 0}});
  // Hit, miss, hit.
  CHECK(metric.compute().map50 == Approx(0.5 + 0.5 * 2 / 3));
  AveragePrecision empty;
  CHECK(empty.compute().map == 0);
  empty.add({{0, 0, 1, 1, 0.5F, 3}}, {});  // of a class without objects: not in the mean
  CHECK(empty.compute().classes.empty());
}
