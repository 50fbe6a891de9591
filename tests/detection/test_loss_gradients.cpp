// SPDX-License-Identifier: Apache-2.0
#include <torch/torch.h>

#include <algorithm>
#include <array>
#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <cmath>

#include "sparsify/detection/loss.hpp"

using namespace sparsify::detection;
using Catch::Approx;

namespace {

using Raw = std::array<double, 8>;  // x, y, width, height, objectness, three classes

constexpr double kMapSide = 16;                 // of the only cell, in pixels
constexpr std::array<double, 2> kAnchor{1, 1};  // in cells
constexpr std::array<double, 4> kObject{0.6, 0.55, 0.9, 0.7};
constexpr int kLabel = 1;

double logistic(double x) { return 1 / (1 + std::exp(-x)); }

double cross_entropy_of(double logit, double expected) {
  return -expected * std::log(logistic(logit)) - (1 - expected) * std::log(1 - logistic(logit));
}

std::array<double, 4> decoded_box(const Raw& raw, const DetectionHead& head) {
  const bool darknet = head.coding == BoxCoding::kDarknet;
  const double reach = darknet ? head.scale_xy : 2;
  std::array<double, 4> box{};
  for (std::size_t i = 0; i < 2; ++i) {
    box[i] = logistic(raw[i]) * reach - (reach - 1) / 2;
    box[i + 2] = kAnchor[i] * (darknet ? std::exp(raw[i + 2]) : std::pow(2 * logistic(raw[i + 2]), 2));
  }
  return box;
}

struct Overlap {
  double iou = 0, apart = 0, shape = 0;
  double weight() const { return shape / (shape - iou + 1); }
};

Overlap overlap_of(const std::array<double, 4>& found) {
  double shared = 1, areas[2] = {1, 1}, apart = 0, diagonal = 0;
  for (std::size_t i = 0; i < 2; ++i) {
    const double low[2] = {found[i] - found[i + 2] / 2, kObject[i] - kObject[i + 2] / 2};
    const double high[2] = {found[i] + found[i + 2] / 2, kObject[i] + kObject[i + 2] / 2};
    shared *= std::max(0.0, std::min(high[0], high[1]) - std::max(low[0], low[1]));
    areas[0] *= found[i + 2], areas[1] *= kObject[i + 2];
    apart += std::pow(found[i] - kObject[i], 2);
    diagonal += std::pow(std::max(high[0], high[1]) - std::min(low[0], low[1]), 2);
  }
  const double angle = std::atan(kObject[2] / kObject[3]) - std::atan(found[2] / found[3]);
  return {shared / (areas[0] + areas[1] - shared), apart / diagonal, 4 / (M_PI * M_PI) * angle * angle};
}

/// The loss near `fixed`: what carries no gradient, the weight of shapes and the expected objectness, is
/// that of `fixed`.
double loss_near(const Raw& fixed, const Raw& raw, const DetectionHead& head, const Hyperparameters& hyp) {
  const auto held = overlap_of(decoded_box(fixed, head)), free = overlap_of(decoded_box(raw, head));
  const double expected = std::max(0.0, held.iou - held.apart - held.weight() * held.shape);
  const double box = 1 - (free.iou - free.apart - held.weight() * free.shape);
  const double obj = cross_entropy_of(raw[4], expected);
  double cls = 0;
  for (int i = 0; i < 3; ++i)
    cls +=
        cross_entropy_of(raw[5 + i], i == kLabel ? 1 - hyp.label_smoothing / 2 : hyp.label_smoothing / 2) / 3;
  return 3 * (hyp.box * box + hyp.obj * 4 * std::pow(kMapSide / 640, 2) * obj + hyp.cls * 3 / 80 * cls);
}

torch::Tensor map_of(const Raw& raw) {
  return torch::tensor(std::vector<double>(raw.begin(), raw.end()), torch::kFloat).view({1, 8, 1, 1});
}

torch::Tensor target() {
  return torch::tensor({0.0, static_cast<double>(kLabel), kObject[0], kObject[1], kObject[2], kObject[3]},
                       torch::kFloat)
      .view({1, 6});
}

}  // namespace

TEST_CASE("every gradient of the loss is what differences of a plain computation say") {
  const auto coding = GENERATE(BoxCoding::kUltralytics, BoxCoding::kDarknet);
  const DetectionHead head{{{kMapSide, kMapSide}}, 3, coding, 1.1, kMapSide};
  Hyperparameters hyp;
  hyp.label_smoothing = 0.1;
  const Raw raw{0.3, -0.4, 0.25, -0.35, 0.7, -0.2, 0.5, 1.1};
  auto map = map_of(raw).requires_grad_();
  const auto losses = DetectionLoss({head}, hyp)({map}, target(), 16, 16);
  CHECK(losses.total.item<double>() == Approx(loss_near(raw, raw, head, hyp)).epsilon(1e-5));
  losses.total.backward();
  for (std::size_t i = 0; i < raw.size(); ++i) {
    CAPTURE(static_cast<int>(coding), i);
    Raw more = raw, less = raw;
    more[i] += 1e-5, less[i] -= 1e-5;
    const double slope = (loss_near(raw, more, head, hyp) - loss_near(raw, less, head, hyp)) / 2e-5;
    CHECK(map.grad().view(-1)[static_cast<std::int64_t>(i)].item<double>() ==
          Approx(slope).epsilon(1e-4).margin(1e-7));
  }
}

TEST_CASE("focal loss weighs the cross entropy by how wrong it is") {
  const DetectionHead head{{{kMapSide, kMapSide}}, 1, BoxCoding::kUltralytics, 1, kMapSide};
  Hyperparameters hyp;
  hyp.fl_gamma = 2;
  const auto none = DetectionLoss({head}, hyp)({torch::zeros({1, 6, 1, 1})}, torch::zeros({0, 6}), 640, 640);
  // Levels 3/1, balance 4; nothing expected: alpha 1 - 0.25, and half wrong.
  CHECK(none.obj.item<double>() == Approx(3 * 4 * 0.75 * 0.25 * std::log(2.0)));
  const auto exact = torch::tensor({{0.F, 0.F, 0.5F, 0.5F, 1.F, 1.F}});
  const auto one = DetectionLoss({head}, hyp)({torch::zeros({1, 6, 1, 1})}, exact, 16, 16);
  CHECK(one.obj.item<double>() ==
        Approx(3 * 4 * std::pow(16.0 / 640, 2) * 0.25 * 0.25 * std::log(2.0)).epsilon(1e-5));
}

TEST_CASE("objects that no anchor fits, and empty ones, teach no boxes") {
  const DetectionHead head{{{kMapSide, kMapSide}}, 3, BoxCoding::kUltralytics, 1, kMapSide};
  auto map = torch::zeros({1, 8, 4, 4}).requires_grad_();
  const auto targets = torch::tensor({{0.F, 1.F, 0.5F, 0.5F, 0.01F, 0.9F}, {0.F, 2.F, 0.3F, 0.3F, 0.F, 0.F}});
  const auto losses = DetectionLoss({head}, {})({map}, targets, 64, 64);
  CHECK(losses.box.item<double>() == 0);
  CHECK(losses.cls.item<double>() == 0);
  losses.total.backward();
  CHECK(map.grad().isfinite().all().item<bool>());
  CHECK(map.grad().select(1, 4).gt(0).all().item<bool>());
}
