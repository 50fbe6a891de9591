// SPDX-License-Identifier: Apache-2.0
// What a detector learns from a teacher.
#include <torch/torch.h>

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <cmath>

#include "memory_objects.hpp"
#include "plain_boxes.hpp"
#include "sparsify/detection/darknet.hpp"
#include "sparsify/detection/detection_task.hpp"
#include "sparsify/detection/teacher_loss.hpp"
#include "sparsify/error.hpp"
#include "sparsify/modifiers/distillation.hpp"
#include "sparsify/trainers/trainer.hpp"
#include "sparsify/trainers/weights.hpp"

using namespace sparsify;
using namespace sparsify::detection;
using Catch::Approx;
using Catch::Matchers::ContainsSubstring;
using detection_test::heads_of;
using detection_test::random_maps;

namespace {

double bernoulli_kl(double student, double teacher, double temperature) {
  const double t = detection_test::sigmoid(teacher / temperature),
               s = detection_test::sigmoid(student / temperature);
  return temperature * temperature * (t * std::log(t / s) + (1 - t) * std::log((1 - t) / (1 - s)));
}

struct PlainTerms {
  double box = 0, obj = 0, cls = 0;
};

/// Of one level, a cell after the other.
PlainTerms plain_terms(const torch::Tensor& student, const torch::Tensor& teacher, const DetectionHead& head,
                       double temperature, double height, double width) {
  const auto anchors = static_cast<std::int64_t>(head.anchors.size());
  const auto rows = student.size(2), columns = student.size(3);
  const auto doubles = [&](const torch::Tensor& map) {
    return map.to(torch::kDouble).reshape({map.size(0), anchors, 5 + head.classes, rows, columns});
  };
  const auto s_map = doubles(student), t_map = doubles(teacher);
  const auto s = s_map.accessor<double, 5>(), t = t_map.accessor<double, 5>();
  PlainTerms sums;
  double weights = 0, cells = 0;
  for (std::int64_t n = 0; n < student.size(0); ++n)
    for (std::int64_t a = 0; a < anchors; ++a)
      for (std::int64_t y = 0; y < rows; ++y)
        for (std::int64_t x = 0; x < columns; ++x) {
          const auto box = [&](const auto& map) {
            const auto at = [&](std::int64_t channel) { return map[n][a][channel][y][x]; };
            const auto& [across, down] = head.anchors[static_cast<std::size_t>(a)];
            return detection_test::decoded(at(0), at(1), at(2), at(3), head,
                                           across * static_cast<double>(columns) / width,
                                           down * static_cast<double>(rows) / height);
          };
          const double weight = detection_test::sigmoid(t[n][a][4][y][x]);
          double classes = 0;
          for (std::int64_t c = 5; c < 5 + head.classes; ++c)
            classes += bernoulli_kl(s[n][a][c][y][x], t[n][a][c][y][x], temperature);
          sums.obj += bernoulli_kl(s[n][a][4][y][x], t[n][a][4][y][x], temperature);
          sums.cls += weight * classes / static_cast<double>(head.classes);
          sums.box += weight * (1 - detection_test::complete_iou_by_hand(box(s), box(t)));
          weights += weight, cells += 1;
        }
  return {sums.box / weights, sums.obj / cells, head.classes > 1 ? sums.cls / weights : 0};
}

PlainTerms plain_teacher_loss(const Maps& student, const Maps& teacher,
                              const std::vector<DetectionHead>& heads, const Hyperparameters& hyp,
                              double temperature, double height, double width) {
  const std::vector<double> of_objectness =
      heads.size() == 3 ? std::vector<double>{4, 1, 0.4} : std::vector<double>{4, 1};
  PlainTerms sum;
  for (std::size_t level = 0; level < heads.size(); ++level) {
    const auto one = plain_terms(student[level], teacher[level], heads[level], temperature, height, width);
    sum.box += one.box, sum.obj += one.obj * of_objectness[level], sum.cls += one.cls;
  }
  const double levels = 3.0 / static_cast<double>(heads.size());
  const double larger = std::max(height, width) / 640;
  return {levels * hyp.box * sum.box, levels * hyp.obj * larger * larger * sum.obj,
          levels * hyp.cls * static_cast<double>(heads[0].classes) / 80 * sum.cls};
}

constexpr const char* kTaughtNet =
    "[net]\nwidth=64\nheight=64\nchannels=3\n"
    "[convolutional]\nbatch_normalize=1\nfilters=8\nsize=3\nstride=2\npad=1\nactivation=relu\n"
    "[convolutional]\nbatch_normalize=1\nfilters=16\nsize=3\nstride=2\npad=1\nactivation=relu\n"
    "[convolutional]\nbatch_normalize=1\nfilters=16\nsize=3\nstride=2\npad=1\nactivation=relu\n"
    "[convolutional]\nfilters=18\nsize=1\nstride=1\npad=1\nactivation=linear\n"
    "[yolo]\nmask=0,1\nanchors=26,14, 14,26\nclasses=4\nnum=2\n";

/// Images whose labels nobody knows.
class UnlabelledObjects : public detection_test::MemoryObjects {
 public:
  const std::vector<GroundTruth>& objects(std::int64_t /*index*/) const override { return none_; }

 private:
  std::vector<GroundTruth> none_{};
};

template <class Objects>
std::shared_ptr<Objects> red_to_yellow_images() {
  const auto images = std::make_shared<Objects>();
  for (std::int64_t i = 0; i < 16; ++i) images->add(64, 64, {{8, 8, 34, 22, i % 4}});
  return images;
}

/// A detector that is sure of much: where it is right does not matter.
std::shared_ptr<Detector> opinionated_teacher() {
  torch::manual_seed(5);
  auto teacher = parse_darknet(kTaughtNet, "teacher.cfg");
  const torch::NoGradGuard no_grad;
  auto bias = teacher->parameters().back();
  REQUIRE(bias.sizes() == torch::IntArrayRef{18});
  bias.copy_(torch::randn({18}));
  return teacher;
}

struct TaughtRun {
  std::vector<double> divergences{};  ///< means over epochs
  std::shared_ptr<Detector> student{};
};

/// Ten epochs of eight steps, from the teacher alone.
TaughtRun taught_with(std::shared_ptr<const DetectionDataset> training_images) {
  TrainOptions options;
  options.epochs = 10, options.device = "cpu", options.precision = "fp32", options.optimizer.lr = 0.1;
  options.teacher = opinionated_teacher();
  DetectionOptions loading;
  loading.batch_size = loading.nominal_batch_size = 2;
  loading.image_size = 64, loading.workers = 0, loading.augment = false;
  TaughtRun run;
  torch::manual_seed(1);
  run.student = parse_darknet(kTaughtNet, "student.cfg");
  const DetectionDatasets data{
      "memory", std::move(training_images), red_to_yellow_images<detection_test::MemoryObjects>(), {}};
  TrainEvents events;
  events.epoch = [&](const EpochMetrics& row) { run.divergences.push_back(value_of(row.train, "loss")); };
  Recipe recipe;
  recipe.add<Distillation>({.hardness = 1, .temperature = 1});
  Trainer(std::make_shared<DetectionTask>(run.student, data, loading), recipe, options, events).run();
  return run;
}

}  // namespace

TEST_CASE("teacher loss: it is what a plain computation of it gives") {
  const auto coding = GENERATE(BoxCoding::kUltralytics, BoxCoding::kDarknet);
  const auto levels = GENERATE(std::size_t{2}, std::size_t{3});
  const auto classes = GENERATE(1, 3);
  const auto temperature = GENERATE(1.0, 2.5);
  CAPTURE(static_cast<int>(coding), levels, classes, temperature);
  torch::manual_seed(7);
  Hyperparameters hyp;
  hyp.box = 0.07, hyp.obj = 0.9, hyp.cls = 0.4;
  const auto heads = heads_of(levels, classes, coding);
  const auto student = random_maps(heads, 2), teacher = random_maps(heads, 2);
  const auto expected = plain_teacher_loss(student, teacher, heads, hyp, temperature, 64, 128);
  const auto check = [&](const Losses& losses) {
    CHECK(losses.box.item<double>() == Approx(expected.box).epsilon(1e-4));
    CHECK(losses.obj.item<double>() == Approx(expected.obj).epsilon(1e-4));
    CHECK(losses.cls.item<double>() == Approx(expected.cls).epsilon(1e-4));
    CHECK(losses.total.item<double>() == Approx(expected.box + expected.obj + expected.cls).epsilon(1e-4));
  };
  check(TeacherLoss(heads, hyp)(student, teacher, temperature, 64, 128));

  Maps laid_out;
  for (const auto& map : student) laid_out.push_back(map.contiguous(torch::MemoryFormat::ChannelsLast));
  check(TeacherLoss(heads, hyp)(laid_out, teacher, temperature, 64, 128));

  // The maps' order is not that of their fineness.
  const auto turned = [](const auto& all) { return std::decay_t<decltype(all)>(all.rbegin(), all.rend()); };
  check(TeacherLoss(turned(heads), hyp)(turned(student), turned(teacher), temperature, 64, 128));
}

TEST_CASE("teacher loss: one cell, numbers worked by hand") {
  const std::vector<DetectionHead> heads = {{{{16, 16}}, 2, BoxCoding::kUltralytics, 1, 16}};
  auto student = torch::zeros({1, 7, 1, 1}), teacher = torch::zeros({1, 7, 1, 1});
  teacher.select(1, 4).fill_(std::log(3.0));  // 3/4
  teacher.select(1, 6).fill_(std::log(3.0));
  const auto losses = TeacherLoss(heads, {})({student}, {teacher}, 1, 16, 16);
  const double apart = 0.75 * std::log(1.5) + 0.25 * std::log(0.5);
  // Gain 1, levels 3/1, balance 4, (16/640)^2; gain 0.5, levels 3/1, 2 of 80 classes, half of which differ.
  CHECK(losses.obj.item<double>() == Approx(apart * 3 * 4 / 1600));
  CHECK(losses.cls.item<double>() == Approx(apart / 2 * 0.5 * 3 * 2 / 80));
  CHECK(losses.box.item<double>() == Approx(0).margin(1e-6));
}

TEST_CASE("teacher loss: nothing is to be learnt from equal maps") {
  const auto coding = GENERATE(BoxCoding::kUltralytics, BoxCoding::kDarknet);
  torch::manual_seed(7);
  const auto heads = heads_of(3, 3, coding);
  const auto teacher = random_maps(heads, 2);
  Maps student;
  for (const auto& map : teacher) student.push_back(map.clone().requires_grad_());
  const auto losses = TeacherLoss(heads, {})(student, teacher, 2, 64, 128);
  CHECK(losses.total.item<double>() == Approx(0).margin(1e-6));
  losses.total.backward();
  for (const auto& map : student) CHECK(map.grad().abs().max().item<double>() < 1e-5);
}

TEST_CASE("teacher loss: gradients stay finite at extreme logits and none reaches the teacher") {
  const auto coding = GENERATE(BoxCoding::kUltralytics, BoxCoding::kDarknet);
  torch::manual_seed(3);
  const auto heads = heads_of(2, 3, coding);
  auto student = random_maps(heads, 1), teacher = random_maps(heads, 1);
  for (auto* maps : {&student, &teacher})
    for (auto& map : *maps) map = (map.sign() * 80).requires_grad_();
  const auto losses = TeacherLoss(heads, {})(student, teacher, 1, 64, 128);
  CHECK(losses.total.isfinite().item<bool>());
  losses.total.backward();
  for (const auto& map : student) {
    REQUIRE(map.grad().defined());
    CHECK(map.grad().isfinite().all().item<bool>());
    CHECK(map.grad().abs().max().item<double>() > 0);
  }
  for (const auto& map : teacher) CHECK_FALSE(map.grad().defined());

  // A teacher that sees nothing at all teaches just that.
  const auto nothing = torch::full_like(teacher[0].detach(), -200);
  const auto blind = TeacherLoss({heads[0]}, {})({student[0]}, {nothing}, 1, 64, 128);
  CHECK(blind.total.isfinite().item<bool>());
  CHECK(blind.obj.item<double>() > 0);
}

TEST_CASE("teacher loss: maps of half precision are compared in float32") {
  const auto heads = heads_of(2, 3, BoxCoding::kDarknet);
  torch::manual_seed(3);
  auto student = random_maps(heads, 1), teacher = random_maps(heads, 1);
  for (auto* maps : {&student, &teacher})
    for (auto& map : *maps) map = map.to(torch::kBFloat16);
  const auto floats = [](Maps maps) {
    for (auto& map : maps) map = map.to(torch::kFloat);
    return maps;
  };
  const TeacherLoss loss(heads, {});
  const auto halves = loss(student, teacher, 1, 64, 128).total;
  CHECK(halves.scalar_type() == torch::kFloat);
  CHECK(torch::equal(halves, loss(floats(student), floats(teacher), 1, 64, 128).total));
}

TEST_CASE("teacher loss: other numbers of maps are refused") {
  const auto heads = heads_of(2, 3, BoxCoding::kDarknet);
  const auto maps = random_maps(heads, 1);
  const TeacherLoss loss(heads, {});
  CHECK_THROWS_WITH(loss(maps, {maps[0]}, 1, 64, 128), ContainsSubstring("gives 1 maps, the model 2"));
  CHECK_THROWS_WITH(loss({maps[0]}, {maps[0]}, 1, 64, 128), ContainsSubstring("expected 2 maps"));
}

TEST_CASE("teacher loss: a detector learns from its teacher alone, with and without labels the same") {
  const auto labelled = taught_with(red_to_yellow_images<detection_test::MemoryObjects>());
  REQUIRE(labelled.divergences.size() == 10);
  CHECK(labelled.divergences.back() > 0);
  CHECK(labelled.divergences.back() < labelled.divergences.front() / 2);
  const auto unlabelled = taught_with(red_to_yellow_images<UnlabelledObjects>());
  const auto weights = state_dict(*labelled.student), others = state_dict(*unlabelled.student);
  for (const auto& [name, value] : weights) {
    INFO(name);
    CHECK(torch::allclose(value, others.at(name)));
  }
}

TEST_CASE("teacher loss: a teacher with other heads is told by the shapes of its maps") {
  std::string other = kTaughtNet;
  const auto say = [&](const std::string& before, const std::string& now) {
    other.replace(other.find(before), before.size(), now);
  };
  say("filters=18", "filters=27"), say("mask=0,1", "mask=0,1,2"), say("num=2", "num=3");
  say("anchors=26,14, 14,26", "anchors=26,14, 14,26, 30,30");
  DetectionOptions loading;
  loading.batch_size = loading.nominal_batch_size = 2, loading.image_size = 64, loading.workers = 0;
  const auto images = red_to_yellow_images<detection_test::MemoryObjects>();
  const auto task = std::make_shared<DetectionTask>(parse_darknet(kTaughtNet, "student.cfg"),
                                                    DetectionDatasets{"memory", images, images, {}}, loading);
  TrainOptions options;
  options.epochs = 1, options.device = "cpu", options.teacher = parse_darknet(other, "other.cfg");
  Recipe recipe;
  recipe.add<Distillation>({.hardness = 0.5});
  CHECK_THROWS_WITH(Trainer(task, recipe, options).run(),
                    ContainsSubstring("shape [2, 27, 8, 8]") && ContainsSubstring("[2, 18, 8, 8]"));
}
