// SPDX-License-Identifier: Apache-2.0
// Metrics of detectors beside COCO's own evaluation and Ultralytics' formulas, and the confusion matrix.
#include <algorithm>
#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>

#include "sparsify/detection/average_precision.hpp"
#include "sparsify/detection/confusion_matrix.hpp"

using namespace sparsify::detection;
using Catch::Approx;

namespace {

/// Integers that tests/accuracy/average_precision_cases.py draws as well.
class Generator {
 public:
  explicit Generator(std::uint64_t seed) : state_(seed) {}

  int pick(int n) {
    state_ = (state_ * 1103515245 + 12345) & 0x7fffffff;
    return static_cast<int>((state_ >> 8) % static_cast<std::uint64_t>(n));
  }
  Detection box() {
    const int x = pick(400), y = pick(400), width = 8 + pick(80), height = 8 + pick(80);
    return from_sides(x, y, width, height);
  }
  Detection near(const Detection& box, int jitter) {
    const auto moved = [&](float side) { return static_cast<int>(side) + pick(2 * jitter + 1) - jitter; };
    const int x = std::max(0, moved(box.x1)), y = std::max(0, moved(box.y1));
    const int width = std::max(1, moved(box.x2 - box.x1)), height = std::max(1, moved(box.y2 - box.y1));
    return from_sides(x, y, width, height);
  }

 private:
  static Detection from_sides(int x, int y, int width, int height) {
    return {static_cast<float>(x), static_cast<float>(y), static_cast<float>(x + width),
            static_cast<float>(y + height)};
  }
  std::uint64_t state_;
};

struct RandomCase {
  std::uint64_t seed;
  int images, classes, most_objects, detections, jitter, score_levels;
  std::int64_t max_det;
  int found;  ///< detections in all
  double map50, map, precision, recall, f1, confidence;
};

/// Nothing finds class 0; nothing is of the last class.
int add_random_images(AveragePrecision& metric, const RandomCase& drawn) {
  Generator generator(drawn.seed);
  int count = 0;
  for (int image = 0; image < drawn.images; ++image) {
    std::vector<Detection> boxes, found;
    const int objects = generator.pick(drawn.most_objects + 1);
    for (int i = 0; i < objects; ++i) {
      const int label = generator.pick(drawn.classes);
      boxes.push_back(generator.box());
      boxes.back().label = label;
    }
    for (int i = 0; i < drawn.detections; ++i) {
      Detection box;
      if (!boxes.empty() && generator.pick(4) > 0) {
        const auto& object = boxes[static_cast<std::size_t>(generator.pick(objects))];
        box = generator.near(object, drawn.jitter);
        box.label = std::max<std::int64_t>(1, object.label);
      } else {
        const int label = 1 + generator.pick(drawn.classes);
        box = generator.box();
        box.label = label;
      }
      const int level = 1 + generator.pick(drawn.score_levels);
      box.score = static_cast<float>(level) / static_cast<float>(drawn.score_levels);
      found.push_back(box);
    }
    std::vector<GroundTruth> truth;
    for (const auto& box : boxes) truth.push_back({box.x1, box.y1, box.x2, box.y2, box.label});
    metric.add(found, truth);
    count += drawn.detections;
  }
  return count;
}

}  // namespace

TEST_CASE("mean average precision is pycocotools', precision and recall are Ultralytics'") {
  // Made by tests/accuracy/average_precision_cases.py with pycocotools 2.0: hardly any ties, many ties, more
  // than 100 detections of a class in an image, these with ties, boxes that hardly differ.
  const RandomCase cases[] = {
      {1, 40, 3, 6, 12, 6, 1048576, 300, 480, 0.162389382544, 0.065282909492, 0.166038638156, 0.370335327973,
       0.228695639359, 0.579579579580},
      {2, 60, 5, 8, 20, 4, 8, 300, 1200, 0.280398146897, 0.161991320788, 0.244978158723, 0.480156067272,
       0.320061551343, 0.675675675676},
      {3, 12, 2, 30, 260, 3, 1048576, 100, 3120, 0.151205860242, 0.098274857349, 0.095476901035,
       0.254385964912, 0.138842877943, 0.941941941942},
      {4, 12, 2, 30, 260, 3, 64, 300, 3120, 0.122625753438, 0.076316149789, 0.112235324009, 0.263440860215,
       0.157408808677, 0.932932932933},
      {5, 25, 8, 4, 6, 1, 1024, 300, 150, 0.430729619908, 0.372018811433, 0.375412577814, 0.588169568378,
       0.444539912443, 0.507507507508},
  };
  for (const auto& drawn : cases) {
    INFO("case " << drawn.seed);
    AveragePrecision metric(Interpolation::kCoco, drawn.max_det);
    CHECK(add_random_images(metric, drawn) == drawn.found);
    const auto metrics = metric.compute();
    CHECK(metrics.map50 == Approx(drawn.map50).epsilon(1e-10));
    CHECK(metrics.map == Approx(drawn.map).epsilon(1e-10));
    CHECK(metrics.precision == Approx(drawn.precision).epsilon(1e-10));
    CHECK(metrics.recall == Approx(drawn.recall).epsilon(1e-10));
    CHECK(metrics.f1 == Approx(drawn.f1).epsilon(1e-10));
    CHECK(metrics.confidence == Approx(drawn.confidence).epsilon(1e-10));
    CHECK(metrics.classes.count(drawn.classes) == 0);  // nothing is of it: not in the means
    CHECK(metrics.classes.at(0).objects > 0);
    CHECK(metrics.classes.at(0).f1 == 0);
  }
}

TEST_CASE("an overlap or a recall that is exactly a threshold counts as in COCO's evaluation") {
  // 17 of 20 pixels: COCO's threshold is 0.85, while 0.5 + 7 * 0.05 is more by one bit.
  AveragePrecision overlap;
  overlap.add({{0, 0, 17, 1, 0.9F, 0}}, {{0, 0, 20, 1, 0}});
  CHECK(overlap.compute().map == Approx(0.8));
  // 35 of 100 objects: COCO's recall is 35 * 0.01, which is more than 35 / 100 by one bit.
  std::vector<Detection> found;
  std::vector<GroundTruth> objects;
  for (int i = 0; i < 100; ++i) {
    const auto left = static_cast<float>(20 * i);
    objects.push_back({left, 0, left + 10, 10, 0});
    if (i < 35) found.push_back({left, 0, left + 10, 10, 0.5F, 0});
  }
  AveragePrecision recall;
  recall.add(found, objects);
  CHECK(recall.compute().map50 == Approx(35.0 / 101));
}

TEST_CASE("precision, recall and F1 are at one confidence for all classes, worked by hand") {
  // Class 0: both objects found, at 0.9 and 0.8, and below them three that are wrong.
  // Class 1: one of two found, at 0.9; the other by nobody.
  AveragePrecision metric;
  metric.add({{0, 0, 10, 10, 0.9F, 0},
              {20, 20, 30, 30, 0.8F, 0},
              {40, 0, 50, 10, 0.3F, 0},
              {60, 0, 70, 10, 0.2F, 0},
              {80, 0, 90, 10, 0.1F, 0},
              {0, 40, 10, 50, 0.9F, 1}},
             {{0, 0, 10, 10, 0}, {20, 20, 30, 30, 0}, {0, 40, 10, 50, 1}});
  metric.add({}, {{0, 0, 10, 10, 1}});
  const auto metrics = metric.compute();
  const auto &first = metrics.classes.at(0), &second = metrics.classes.at(1);
  CHECK(first.images == 1);
  CHECK(first.objects == 2);
  CHECK(second.images == 2);
  CHECK(second.objects == 2);
  // The mean F1 is best with class 0's two hits: its precision begins to fall below 0.8, towards 2/3 at 0.3,
  // and a tenth of the axis has to lie within the best.
  CHECK(metrics.confidence > 0.7);
  CHECK(metrics.confidence < 0.8);
  CHECK(first.recall == 1);
  CHECK(first.precision == Approx(1 - (0.8 - metrics.confidence) / 0.5 / 3).epsilon(1e-6));
  CHECK(second.precision == 1);
  CHECK(second.recall == 0.5);
  CHECK(second.f1 == Approx(2.0 / 3));
  CHECK(metrics.precision == Approx((first.precision + second.precision) / 2));
  CHECK(metrics.recall == Approx(0.75));
  CHECK(metrics.f1 == Approx((first.f1 + second.f1) / 2));
  // Curves at 0, at 0.2 and above everything.
  CHECK(first.curves.precision.size() == 1000);
  CHECK(first.curves.precision[0] == Approx(2.0 / 5));
  CHECK(first.curves.recall[999] == 0);
  CHECK(first.curves.precision[999] == 1);
  CHECK(first.curves.f1[999] == 0);
  CHECK(second.curves.precision_at_recall.size() == 101);
  CHECK(second.curves.precision_at_recall[50] == 1);
  CHECK(second.curves.precision_at_recall[51] == 0);
  CHECK(metrics.curves.precision_at_recall[51] == Approx(0.5));
}

TEST_CASE("a detector that finds nothing has a precision of nothing") {
  AveragePrecision metric;
  metric.add({}, {{0, 0, 10, 10, 0}});
  const auto metrics = metric.compute();
  CHECK(metrics.precision == 0);
  CHECK(metrics.recall == 0);
  CHECK(metrics.f1 == 0);
}

TEST_CASE("a confusion matrix worked by hand") {
  ConfusionMatrix confusion(2);
  const std::int64_t background = confusion.classes();
  confusion.add({{0, 0, 10, 10, 0.9F, 0},     // right
                 {0, 0, 10, 9, 0.95F, 1},     // the same object, overlapped less: of the background
                 {20, 20, 30, 29, 0.5F, 1},   // an object of class 0 taken for class 1
                 {60, 60, 70, 70, 0.3F, 0},   // nothing is there
                 {40, 40, 50, 50, 0.2F, 1},   // not sure enough: its object is missed
                 {80, 80, 90, 84, 0.9F, 1}},  // an IoU of 0.4 is too little: both of the background
                {{0, 0, 10, 10, 0}, {20, 20, 30, 30, 0}, {40, 40, 50, 50, 1}, {80, 80, 90, 90, 1}});
  confusion.add({{0, 0, 5, 5, 0.9F, 1}}, {});
  confusion.add({}, {{0, 0, 5, 5, 0}});
  CHECK(confusion.count(0, 0) == 1);
  CHECK(confusion.count(1, 0) == 1);
  CHECK(confusion.count(background, 0) == 1);
  CHECK(confusion.count(0, 1) == 0);
  CHECK(confusion.count(1, 1) == 0);
  CHECK(confusion.count(background, 1) == 2);
  CHECK(confusion.count(0, background) == 1);
  CHECK(confusion.count(1, background) == 3);
  CHECK(confusion.count(background, background) == 0);
  CHECK(confusion.share(1, 0) == Approx(1.0 / 3));
  CHECK(confusion.share(1, background) == Approx(0.75));
  CHECK(ConfusionMatrix(1).share(0, 0) == 0);
}
