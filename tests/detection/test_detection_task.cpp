// SPDX-License-Identifier: Apache-2.0
// What detectors learn from: batches of changing sizes, and anchors that may be replaced. How they are
// judged: in squares and in rectangles.
#include <torch/torch.h>

#include "memory_objects.hpp"
#include "sparsify/detection/darknet.hpp"
#include "sparsify/detection/detection_task.hpp"
#include "sparsify/detection/ultralytics.hpp"
#include "sparsify/error.hpp"
#include "sparsify/modifiers/quantization.hpp"
#include "sparsify/session.hpp"
#include "sparsify/trainers/trainer.hpp"
#include "sparsify/trainers/weights.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers.hpp>

#include <algorithm>
#include <map>
#include <set>

using namespace sparsify;
using namespace sparsify::detection;
using detection_test::MemoryObjects;

namespace {

const std::string kDarknetNet =
    "[net]\nwidth=64\nheight=64\nchannels=3\n"
    "[convolutional]\nbatch_normalize=1\nfilters=8\nsize=3\nstride=2\npad=1\nactivation=relu\n"
    "[maxpool]\nsize=2\nstride=2\n"
    "[convolutional]\nbatch_normalize=1\nfilters=8\nsize=3\nstride=2\npad=1\nactivation=relu\n"
    "[upsample]\nstride=2\n"
    "[route]\nlayers=-1,-3\n"
    "[convolutional]\nbatch_normalize=1\nfilters=8\nsize=3\nstride=2\npad=1\nactivation=relu\n"
    "[convolutional]\nfilters=18\nsize=1\nstride=1\npad=1\nactivation=linear\n"
    "[yolo]\nmask=0,1\nanchors=400,400, 500,500\nclasses=4\nnum=2\n";

const std::string kUltralytics =
    "nc: 4\ndepth_multiple: 1.0\nwidth_multiple: 1.0\n"
    "anchors:\n  - [400, 400, 500, 500]\n"
    "backbone:\n  - [-1, 1, Conv, [8, 3, 2]]\n  - [-1, 1, Conv, [16, 3, 2]]\n"
    "head:\n  - [-1, 1, Conv, [16, 3, 2]]\n  - [[-1], 1, Detect, [nc, anchors]]\n";

const Anchors kLarge = {{400, 400}, {500, 500}}, kFitting = {{26, 14}, {14, 26}}, kOne = {{26, 14}};

std::vector<std::shared_ptr<Detector>> both_kinds() {
  torch::manual_seed(1);
  return {parse_darknet(kDarknetNet, "tiny.cfg"), parse_ultralytics(kUltralytics, "tiny.yaml")};
}

DetectionDatasets sixteen_images() {
  const auto images = std::make_shared<MemoryObjects>();
  for (std::int64_t i = 0; i < 16; ++i) images->add(64, 64, {{8, 8, 34, 22, i % 4}});
  return {"memory", images, images, {}};
}

DetectionOptions small_batches(double multi_scale) {
  DetectionOptions options;
  options.batch_size = options.nominal_batch_size = 2;
  options.image_size = 64, options.workers = 0, options.multi_scale = multi_scale;
  return options;
}

/// Remembers the sides of its batches.
class WatchedTask : public DetectionTask {
 public:
  using DetectionTask::DetectionTask;
  std::optional<torch::Tensor> next_batch() override {
    auto batch = DetectionTask::next_batch();
    if (batch) heights.insert(batch->size(2)), widths.insert(batch->size(3));
    return batch;
  }
  std::set<std::int64_t> heights, widths;
};

struct Trained {
  std::set<std::int64_t> heights{}, widths{};
  std::vector<std::string> rounded{};
  bool is_quantized = false;
  Evaluation evaluation{};
};

/// Three epochs of eight steps, the last two with integers.
Trained trained(double multi_scale) {
  const auto task =
      std::make_shared<WatchedTask>(both_kinds().front(), sixteen_images(), small_batches(multi_scale));
  Recipe recipe;
  Quantization::Options quantization;
  quantization.start_epoch = 1;
  recipe.add<Quantization>(quantization);
  TrainOptions options;
  options.epochs = 3, options.device = "cpu", options.precision = "fp32", options.optimizer.lr = 0.001;
  Trainer trainer(task, recipe, options);
  trainer.run();
  Trained result;
  result.heights = task->heights, result.widths = task->widths;
  const auto* quantized = trainer.session().find<Quantization>();
  for (const auto& weight : quantized->plan().weights) result.rounded.push_back(weight.site);
  result.is_quantized = quantized->active();
  result.evaluation = trainer.evaluate();
  return result;
}

/// Finds red squares that fill a cell of 8 x 8 pixels; nothing on black and on grey.
std::shared_ptr<Detector> cells_detector() {
  const auto detector = parse_darknet(
      "[net]\nwidth=64\nheight=64\nchannels=3\n"
      "[convolutional]\nfilters=9\nsize=8\nstride=8\nactivation=linear\n"
      "[yolo]\nmask=0\nanchors=8,8\nclasses=4\nnum=1\n",
      "cells.cfg");
  const torch::NoGradGuard no_grad;
  const auto parameters = detector->named_parameters();
  const auto weight = parameters["model.0.conv.weight"], bias = parameters["model.0.conv.bias"];
  weight.zero_();
  for (std::int64_t colour = 0; colour < 3; ++colour)
    weight.select(0, 4).select(0, colour).fill_((colour == 0 ? 20.0 : -20.0) / 64);
  bias.copy_(torch::tensor({0.F, 0.F, 0.F, 0.F, -10.F, 10.F, -10.F, -10.F, -10.F}));
  detector->eval();
  return detector;
}

/// Lying, standing and square ones; placed so that cells lie alike in squares and in rectangles.
std::shared_ptr<MemoryObjects> images_of_many_shapes() {
  const auto images = std::make_shared<MemoryObjects>();
  images->add(64, 64, {{8, 16, 16, 24, 0}, {40, 48, 48, 56, 0}});
  images->add(32, 64, {{0, 0, 8, 8, 0}, {56, 24, 64, 32, 0}});
  images->add(64, 32, {{24, 8, 32, 16, 0}});
  images->add(64, 128, {{32, 16, 48, 32, 0}, {96, 0, 112, 16, 0}});
  images->add(64, 32, {});
  return images;
}

struct Judged {
  std::vector<std::pair<std::int64_t, std::int64_t>> inputs{};  ///< heights and widths of the batches
  std::map<std::int64_t, std::vector<Detection>> found{};       ///< by image, from left to right
  Evaluation evaluation{};
};

Judged judged(std::int64_t stride) {
  const auto detector = cells_detector();
  const auto pass = detection_validation(images_of_many_shapes(), {detector->heads()}, 64, 2, 0, stride);
  Judged result;
  pass->listen(0, [&](std::int64_t image, std::vector<Detection> found) {
    std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.x1 < b.x1; });
    result.found[image] = found;
  });
  const torch::NoGradGuard no_grad;
  while (const auto images = pass->next()) {
    result.inputs.emplace_back(images->size(2), images->size(3));
    pass->add(0, detector->outputs(*images));
  }
  result.evaluation = pass->result(0);
  return result;
}

double box_loss(DetectionTask& task) {
  task.start_epoch(0, 0);
  const auto images = task.next_batch();
  const torch::NoGradGuard no_grad;
  task.loss(task.network().outputs(*images));
  return value_of(task.loss_figures(), "box");
}

}  // namespace

TEST_CASE("batches of many sizes train a quantized detector as those of one size do") {
  const auto one = trained(0), many = trained(0.5);
  CHECK(one.heights == std::set<std::int64_t>{64});
  CHECK(many.heights == many.widths);
  CHECK(many.heights.size() > 3);
  CHECK(*many.heights.begin() >= 32);
  CHECK(*many.heights.rbegin() <= 96);
  CHECK(*many.heights.rbegin() > 64);
  for (const auto side : many.heights) CHECK(side % 8 == 0);
  CHECK(many.is_quantized);
  CHECK(many.rounded.size() == 3);
  CHECK(many.rounded == one.rounded);
  CHECK(many.evaluation.images == 16);
}

TEST_CASE("other anchors reach the heads, the state and the loss of a task that there is already") {
  for (const auto& detector : both_kinds()) {
    auto options = small_batches(0);
    options.augment = false;
    DetectionTask task(detector, sixteen_images(), options);
    CHECK(detector->anchors().at(0) == kLarge);
    CHECK(box_loss(task) == 0);  // nothing is matched
    detector->set_anchors({kFitting});
    CHECK(detector->heads().at(0).anchors == kFitting);
    CHECK(box_loss(task) > 0);
    CHECK_THROWS_WITH(detector->set_anchors({kFitting, kFitting}), "anchors: the heads have 2; got 2, 2");
    CHECK_THROWS_WITH(detector->set_anchors({kOne}), "anchors: the heads have 2; got 1");
  }
  const auto detector = both_kinds().back();
  detector->set_anchors({kFitting});
  const auto cells = state_dict(*detector).at("model.3.anchors");
  CHECK(torch::equal(cells, torch::tensor({3.25F, 1.75F, 1.75F, 3.25F}).view({1, 2, 2})));
}

TEST_CASE("rectangular validation finds what squares find, with fewer pixels") {
  const auto squares = judged(0), rectangles = judged(8);
  CHECK(squares.inputs == std::vector<std::pair<std::int64_t, std::int64_t>>(3, {64, 64}));
  CHECK(rectangles.inputs ==
        std::vector<std::pair<std::int64_t, std::int64_t>>{{32, 64}, {64, 64}, {64, 32}});
  CHECK(rectangles.evaluation.images == 5);
  for (const auto* figure : {"map50", "map", "precision", "recall", "f1"}) {
    INFO(figure);
    CHECK(squares.evaluation[figure] > 0.99);
    CHECK(std::abs(rectangles.evaluation[figure] - squares.evaluation[figure]) < 1e-6);
  }
  REQUIRE(squares.found.size() == 5);
  REQUIRE(rectangles.found.size() == 5);
  for (const auto& [image, expected] : squares.found) {
    INFO("image " << image);
    const auto& found = rectangles.found.at(image);
    REQUIRE(found.size() == expected.size());
    for (std::size_t i = 0; i < found.size(); ++i) {
      CHECK(found[i].label == expected[i].label);
      CHECK(std::abs(found[i].score - expected[i].score) < 1e-5F);
      for (const auto side : {&Detection::x1, &Detection::y1, &Detection::x2, &Detection::y2})
        CHECK(std::abs(found[i].*side - expected[i].*side) < 1e-3F);
    }
  }
}

TEST_CASE("sides of rectangles are multiples of the stride") {
  const auto detector = cells_detector();
  const auto open = [&](std::int64_t stride) {
    return detection_validation(images_of_many_shapes(), {detector->heads()}, 60, 2, 0, stride);
  };
  CHECK_NOTHROW(open(0));
  CHECK_THROWS_WITH(open(8), "detection loader: image_size: expected a multiple of the stride 8, got 60");
}

TEST_CASE("rectangles fit a network whose deepest maps have no head") {
  const auto detector = parse_darknet(
      "[net]\nwidth=64\nheight=64\nchannels=3\n"
      "[convolutional]\nfilters=8\nsize=4\nstride=4\nactivation=linear\n"
      "[convolutional]\nfilters=8\nsize=3\nstride=2\npad=1\nactivation=linear\n"
      "[upsample]\nstride=2\n"
      "[route]\nlayers=-1,-3\n"
      "[convolutional]\nfilters=9\nsize=1\nstride=1\nactivation=linear\n"
      "[yolo]\nmask=0\nanchors=8,8\nclasses=4\nnum=1\n",
      "shallow.cfg");
  detector->eval();
  CHECK(detector->heads().at(0).stride == 4);
  const auto images = std::make_shared<MemoryObjects>();
  images->add(36, 64, {});  // nine cells of the head
  const auto pass = detection_validation(images, {detector->heads()}, 64, 1, 0, detector->largest_stride);
  const torch::NoGradGuard no_grad;
  const auto batch = pass->next();
  REQUIRE(batch);
  CHECK(batch->size(2) == 40);
  CHECK(batch->size(3) == 64);
  CHECK_NOTHROW(detector->outputs(*batch));
}
