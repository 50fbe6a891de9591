// SPDX-License-Identifier: Apache-2.0
#include <torch/torch.h>

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <cmath>

#include "detection/match_targets.hpp"
#include "plain_boxes.hpp"
#include "sparsify/detection/darknet.hpp"
#include "sparsify/detection/loss.hpp"

using namespace sparsify::detection;
using Catch::Approx;
using detection_test::Box;
using detection_test::complete_iou_by_hand;
using detection_test::decoded;
using detection_test::heads_of;
using detection_test::random_maps;
using detection_test::sigmoid;

namespace {

double cross_entropy(double logit, double expected, double positive_weight = 1) {
  return -(positive_weight * expected * std::log(sigmoid(logit)) +
           (1 - expected) * std::log(1 - sigmoid(logit)));
}

/// The loss as the papers say it, an object and a cell after the other.
class PlainLoss {
 public:
  PlainLoss(const std::vector<DetectionHead>& heads, const Hyperparameters& hyp) : heads_(heads), hyp_(hyp) {}

  double operator()(const Maps& maps, const torch::Tensor& targets, double height, double width) {
    double box = 0, obj = 0, cls = 0;
    const std::vector<double> balance =
        maps.size() == 3 ? std::vector<double>{4, 1, 0.4} : std::vector<double>{4, 1};
    for (std::size_t level = 0; level < maps.size(); ++level) {
      read(maps[level], heads_[level], targets, height, width);
      box += box_, obj += obj_ * balance[level], cls += cls_;
    }
    const double levels = 3.0 / static_cast<double>(maps.size());
    const double larger = std::max(height, width) / 640;
    return levels * (box * hyp_.box + obj * hyp_.obj * larger * larger +
                     cls * hyp_.cls * static_cast<double>(heads_[0].classes) / 80);
  }

 private:
  void read(const torch::Tensor& map, const DetectionHead& head, const torch::Tensor& targets, double height,
            double width) {
    const auto anchors = static_cast<std::int64_t>(head.anchors.size());
    const auto rows = map.size(2), columns = map.size(3);
    const auto raw = map.view({map.size(0), anchors, 5 + head.classes, rows, columns});
    auto expected = torch::zeros({map.size(0), anchors, rows, columns}, torch::kDouble);
    double box = 0, cls = 0;
    int matches = 0;
    const double reach = head.coding == BoxCoding::kUltralytics ? 0.5 : 0.05;  // of scale_xy 1.1
    for (std::int64_t t = 0; t < targets.size(0); ++t) {
      const auto row = targets[t];
      const auto value = [&](int i) { return row[i].item<double>(); };
      const Box object{value(2) * static_cast<double>(columns), value(3) * static_cast<double>(rows),
                       value(4) * static_cast<double>(columns), value(5) * static_cast<double>(rows)};
      for (std::int64_t a = 0; a < anchors; ++a) {
        const double aw = head.anchors[a].first * static_cast<double>(columns) / width,
                     ah = head.anchors[a].second * static_cast<double>(rows) / height;
        if (std::max({object.w / aw, aw / object.w, object.h / ah, ah / object.h}) >= hyp_.anchor_t) continue;
        for (const auto& [cx, cy] : cells(object, columns, rows, reach)) {
          const auto at = [&](std::int64_t channel) {
            return raw[value(0)][a][channel][cy][cx].item<double>();
          };
          const auto found = decoded(at(0), at(1), at(2), at(3), head, aw, ah);
          const Box wanted{object.x - static_cast<double>(cx), object.y - static_cast<double>(cy), object.w,
                           object.h};
          const double iou = complete_iou_by_hand(found, wanted);
          box += 1 - iou, ++matches;
          auto place = expected[value(0)][a][cy][cx];
          place.fill_(std::max({place.item<double>(), iou, 0.0}));
          for (std::int64_t c = 0; head.classes > 1 && c < head.classes; ++c) {
            const double off = hyp_.label_smoothing / 2;
            cls += cross_entropy(at(5 + c), c == value(1) ? 1 - off : off, hyp_.cls_pw);
          }
        }
      }
    }
    box_ = matches ? box / matches : 0;
    cls_ = matches ? cls / (matches * static_cast<double>(head.classes)) : 0;
    obj_ = 0;
    for (std::int64_t i = 0; i < expected.numel(); ++i)
      obj_ += cross_entropy(raw.select(2, 4).reshape({-1})[i].item<double>(),
                            expected.view(-1)[i].item<double>(), hyp_.obj_pw);
    obj_ /= static_cast<double>(expected.numel());
  }

  static std::vector<std::pair<std::int64_t, std::int64_t>> cells(const Box& object, std::int64_t columns,
                                                                  std::int64_t rows, double reach) {
    const auto x = static_cast<std::int64_t>(object.x), y = static_cast<std::int64_t>(object.y);
    const double part_x = object.x - static_cast<double>(x), part_y = object.y - static_cast<double>(y);
    std::vector<std::pair<std::int64_t, std::int64_t>> all = {{x, y}};
    if (part_x < reach && x > 0) all.emplace_back(x - 1, y);
    if (part_x > 1 - reach && x < columns - 1) all.emplace_back(x + 1, y);
    if (part_y < reach && y > 0) all.emplace_back(x, y - 1);
    if (part_y > 1 - reach && y < rows - 1) all.emplace_back(x, y + 1);
    return all;
  }

  std::vector<DetectionHead> heads_;
  Hyperparameters hyp_;
  double box_ = 0, obj_ = 0, cls_ = 0;
};

// Away from the borders between cells, where rounding decides.
torch::Tensor random_targets(std::int64_t objects, std::int64_t images, std::int64_t classes) {
  auto targets = torch::rand({objects, 6});
  targets.select(1, 0).copy_(torch::randint(images, {objects}));
  targets.select(1, 1).copy_(torch::randint(classes, {objects}));
  targets.narrow(1, 2, 2).mul_(0.98).add_(0.01);
  targets.narrow(1, 4, 2).mul_(0.3).add_(0.05);
  return targets;
}

}  // namespace

TEST_CASE("the loss is what a plain computation of it gives") {
  const auto coding = GENERATE(BoxCoding::kUltralytics, BoxCoding::kDarknet);
  const auto levels = GENERATE(std::size_t{2}, std::size_t{3});
  const auto classes = GENERATE(1, 3);
  CAPTURE(static_cast<int>(coding), levels, classes);
  torch::manual_seed(7);
  Hyperparameters hyp;
  hyp.label_smoothing = 0.1, hyp.obj_pw = 1.5, hyp.cls_pw = 0.8;
  const auto heads = heads_of(levels, classes, coding);
  const auto maps = random_maps(heads, 2);
  const auto targets = random_targets(9, 2, classes);
  const auto losses = DetectionLoss(heads, hyp)(maps, targets, 64, 128);
  const double expected = PlainLoss(heads, hyp)(maps, targets, 64, 128);
  CHECK(losses.total.item<double>() == Approx(expected).epsilon(1e-4));
  CHECK((losses.box + losses.obj + losses.cls).item<double>() == Approx(expected).epsilon(1e-4));

  Maps laid_out;
  for (const auto& map : maps) laid_out.push_back(map.contiguous(torch::MemoryFormat::ChannelsLast));
  CHECK(DetectionLoss(heads, hyp)(laid_out, targets, 64, 128).total.item<double>() ==
        Approx(expected).epsilon(1e-4));

  // The maps' order is not that of their fineness.
  const Maps turned(maps.rbegin(), maps.rend());
  const std::vector<DetectionHead> turned_heads(heads.rbegin(), heads.rend());
  CHECK(DetectionLoss(turned_heads, hyp)(turned, targets, 64, 128).total.item<double>() ==
        Approx(expected).epsilon(1e-4));
}

TEST_CASE("one object in one cell: numbers worked by hand") {
  const std::vector<DetectionHead> heads = {{{{16, 16}}, 1, BoxCoding::kUltralytics, 1, 16}};
  const Maps maps = {torch::zeros({1, 6, 1, 1})};
  // The cell's middle, as large as the anchor: zeros predict just that.
  const auto targets = torch::tensor({{0.F, 0.F, 0.5F, 0.5F, 1.F, 1.F}});
  const auto losses = DetectionLoss(heads, {})(maps, targets, 16, 16);
  CHECK(losses.box.item<double>() == Approx(0).margin(1e-6));
  // -log(1/2) for an expected 1, times gain 1, levels 3/1, balance 4, (16/640)^2.
  CHECK(losses.obj.item<double>() == Approx(std::log(2.0) * 3 * 4 / 1600));
  CHECK(losses.cls.item<double>() == 0);
}

TEST_CASE("a batch without objects teaches that there are none") {
  const auto heads = heads_of(2, 3, BoxCoding::kDarknet);
  auto maps = random_maps(heads, 2);
  for (auto& map : maps) map.requires_grad_();
  const auto losses = DetectionLoss(heads, {})(maps, torch::zeros({0, 6}), 64, 128);
  CHECK(losses.box.item<double>() == 0);
  CHECK(losses.cls.item<double>() == 0);
  CHECK(losses.obj.item<double>() > 0);
  losses.total.backward();
  for (const auto& map : maps) CHECK(map.grad().isfinite().all().item<bool>());
}

TEST_CASE("the loss of half precision maps is computed in float32, and huge sizes stay finite") {
  const auto heads = heads_of(2, 3, BoxCoding::kDarknet);
  auto maps = random_maps(heads, 1);
  maps[0].view({1, 3, 8, 8, 16}).select(2, 2).fill_(200);
  maps[0] = maps[0].to(torch::kBFloat16).requires_grad_();
  maps[1] = maps[1].to(torch::kBFloat16).requires_grad_();
  torch::manual_seed(3);
  const auto losses = DetectionLoss(heads, {})(maps, random_targets(6, 1, 3), 64, 128);
  CHECK(losses.total.scalar_type() == torch::kFloat);
  losses.total.backward();
  CHECK(losses.total.isfinite().item<bool>());
  for (const auto& map : maps) CHECK(map.grad().isfinite().all().item<bool>());
}

TEST_CASE("gradients of the loss are what differences say") {
  const auto coding = GENERATE(BoxCoding::kUltralytics, BoxCoding::kDarknet);
  torch::manual_seed(11);
  const auto heads = heads_of(2, 3, coding);
  auto maps = random_maps(heads, 1);
  const auto targets = random_targets(4, 1, 3);
  const DetectionLoss loss(heads, {});
  for (auto& map : maps) map.requires_grad_();
  loss(maps, targets, 64, 128).total.backward();
  // Objectness only: the overlap it learns, and the weight of shapes, are held fixed in gradients of boxes.
  auto gradient = maps[0].grad().view({3, 8, 8, 16}).select(1, 4),
       logits = maps[0].view({3, 8, 8, 16}).select(1, 4);
  for (const std::int64_t at : {0, 57, 200}) {
    const torch::NoGradGuard no_grad;
    auto entry = logits.reshape({-1})[at].item<float>();
    const auto moved = [&](float by) {
      auto copy = maps[0].detach().clone();
      copy.view({3, 8, 8, 16})
          .select(1, 4)
          .index_put_({at / 128, (at / 16) % 8, at % 16}, torch::tensor(entry + by));
      return loss({copy, maps[1].detach()}, targets, 64, 128).total.item<double>();
    };
    CHECK(gradient.reshape({-1})[at].item<double>() ==
          Approx((moved(0.1F) - moved(-0.1F)) / 0.2).margin(2e-5));
  }
}

TEST_CASE("objects are learnt in their cell and its nearest neighbours within the map") {
  const auto anchors = torch::tensor({{1.F, 1.F}});
  const auto match = [&](float x, float y) {
    return match_targets(torch::tensor({{0.F, 2.F, x / 4, y / 4, 0.25F, 0.25F}}), anchors, 4, 4, 4, 0.5);
  };
  const auto cells_of = [](const Matches& matches) {
    std::vector<std::pair<std::int64_t, std::int64_t>> cells;
    for (std::int64_t i = 0; i < matches.row.size(0); ++i)
      cells.emplace_back(matches.column[i].item<std::int64_t>(), matches.row[i].item<std::int64_t>());
    return cells;
  };
  using Cells = std::vector<std::pair<std::int64_t, std::int64_t>>;
  CHECK(cells_of(match(1.3F, 2.8F)) == Cells{{1, 2}, {0, 2}, {1, 3}});
  CHECK(cells_of(match(0.3F, 0.4F)) == Cells{{0, 0}});  // no cell to the left or above
  CHECK(cells_of(match(3.8F, 3.9F)) == Cells{{3, 3}});
  CHECK(cells_of(match(2, 2)) == Cells{{2, 2}, {1, 2}, {2, 1}});  // no cell twice
  CHECK(cells_of(match(4, 2.3F)) == Cells{{3, 2}, {3, 1}});
  // A coding that reaches no further than a tenth of a cell, or not beyond its cell at all.
  const auto object = torch::tensor({{0.F, 2.F, 1.05F / 4, 2.8F / 4, 0.25F, 0.25F}});
  CHECK(cells_of(match_targets(object, anchors, 4, 4, 4, 0.1)) == Cells{{1, 2}, {0, 2}});
  CHECK(cells_of(match_targets(object, anchors, 4, 4, 4, 0)) == Cells{{1, 2}});
  const auto matches = match(1.3F, 2.8F);
  CHECK(torch::allclose(
      matches.box, torch::tensor({{0.3F, 0.8F, 1.F, 1.F}, {1.3F, 0.8F, 1.F, 1.F}, {0.3F, -0.2F, 1.F, 1.F}})));
  CHECK(matches.label.eq(2).all().item<bool>());

  // Sides that differ by the factor itself do not match any more.
  const auto wide = torch::tensor({{0.F, 0.F, 0.5F, 0.5F, 0.99F, 0.25F}, {0.F, 0.F, 0.5F, 0.5F, 1.F, 0.25F}});
  CHECK(match_targets(wide.narrow(0, 0, 1), anchors, 4, 4, 4, 0.5).row.size(0) > 0);
  CHECK(match_targets(wide.narrow(0, 1, 1), anchors, 4, 4, 4, 0.5).row.size(0) == 0);
}

TEST_CASE("where two objects meet in a cell, the better overlap is learnt, in whatever order they come") {
  const std::vector<DetectionHead> heads = {{{{16, 16}}, 1, BoxCoding::kUltralytics, 1, 16}};
  const Maps maps = {torch::zeros({1, 6, 1, 1})};
  const auto exact = torch::tensor({{0.F, 0.F, 0.5F, 0.5F, 1.F, 1.F}}),
             other = torch::tensor({{0.F, 0.F, 0.5F, 0.5F, 0.5F, 0.5F}});
  const DetectionLoss loss(heads, {});
  const auto obj = [&](const torch::Tensor& a, const torch::Tensor& b) {
    return loss(maps, torch::cat({a, b}), 16, 16).obj.item<double>();
  };
  CHECK(obj(exact, other) == obj(other, exact));
  CHECK(obj(exact, other) == Approx(loss(maps, exact, 16, 16).obj.item<double>()));
}

TEST_CASE("a small detector learns four boxes, and does not without the loss of boxes") {
  const auto overlap_after_training = [](double box_gain) {
    torch::manual_seed(2);
    const auto detector = parse_darknet(
        "[net]\nwidth=32\nheight=32\nchannels=3\n"
        "[convolutional]\nbatch_normalize=1\nfilters=16\nsize=3\nstride=2\npad=1\nactivation=leaky\n"
        "[convolutional]\nbatch_normalize=1\nfilters=32\nsize=3\nstride=2\npad=1\nactivation=leaky\n"
        "[convolutional]\nfilters=14\nsize=1\nstride=1\npad=1\nactivation=linear\n"
        "[yolo]\nmask=0,1\nanchors=8,8, 14,14\nclasses=2\nnum=2\n",
        "tiny.cfg");
    const auto images = torch::rand({4, 3, 32, 32});
    const auto targets = torch::tensor({{0.F, 0.F, 0.3F, 0.3F, 0.25F, 0.4F},
                                        {1.F, 1.F, 0.6F, 0.3F, 0.4F, 0.4F},
                                        {2.F, 0.F, 0.4F, 0.7F, 0.5F, 0.3F},
                                        {3.F, 1.F, 0.7F, 0.6F, 0.3F, 0.3F}});
    Hyperparameters hyp;
    hyp.box = box_gain;
    const DetectionLoss loss(detector->heads(), hyp), judge(detector->heads(), {});
    torch::optim::Adam adam(detector->parameters(), 0.02);
    for (int i = 0; i < 100; ++i) {
      adam.zero_grad();
      loss(detector->forward(images), targets, 32, 32).total.backward();
      adam.step();
    }
    const torch::NoGradGuard no_grad;
    return judge(detector->forward(images), targets, 32, 32).box.item<double>();
  };
  CHECK(overlap_after_training(0.05) < 0.03);
  CHECK(overlap_after_training(0) > 0.05);
}
