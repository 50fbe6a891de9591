// SPDX-License-Identifier: Apache-2.0
#include <torch/torch.h>

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers.hpp>

#include "sparsify/detection/autoanchor.hpp"
#include "sparsify/error.hpp"

using namespace sparsify::detection;
using Catch::Approx;

namespace {

const BoxSizes kPlanted = {{10, 14}, {60, 30}, {150, 200}};

// Around each planted size, 7 x 7 sizes that differ by up to 6 %.
BoxSizes planted_boxes() {
  BoxSizes boxes;
  for (int across = -3; across <= 3; ++across)
    for (int down = -3; down <= 3; ++down)
      for (const auto& [width, height] : kPlanted)
        boxes.emplace_back(width * (1 + 0.02 * across), height * (1 + 0.02 * down));
  return boxes;
}

DetectionHead head_of(double stride, const BoxSizes& anchors) {
  DetectionHead head;
  head.stride = stride, head.anchors = anchors;
  return head;
}

/// Two pictures of 100 x 200 and 400 x 400 pixels.
class TwoPictures : public DetectionDataset {
 public:
  TwoPictures() : DetectionDataset({"thing"}) {}
  std::int64_t size() const override { return 2; }
  ImageSize image_size(std::int64_t index) const override {
    return index == 0 ? ImageSize{100, 200} : ImageSize{400, 400};
  }
  sparsify::trainers::Image image(std::int64_t, std::int64_t) const override { return {}; }
  const std::vector<GroundTruth>& objects(std::int64_t index) const override {
    return index == 0 ? wide_ : square_;
  }
  std::string describe(std::int64_t) const override { return "picture"; }

 private:
  std::vector<GroundTruth> wide_ = {{10, 10, 60, 30, 0}};
  std::vector<GroundTruth> square_ = {{0, 0, 40, 80, 0}, {5, 5, 9, 100, 0}};
};

}  // namespace

TEST_CASE("sizes of boxes are those in the network's input, without slivers") {
  CHECK(box_sizes(TwoPictures(), 200) == BoxSizes{{50, 20}, {20, 40}});
  CHECK(box_sizes(TwoPictures(), 400) == BoxSizes{{100, 40}, {40, 80}, {4, 95}});
}

TEST_CASE("the best possible recall is the part of boxes that an anchor fits") {
  const BoxSizes boxes = {{10, 10}, {39, 10}, {40, 10}, {10, 2.5}, {100, 100}};
  CHECK(best_possible_recall(boxes, {{10, 10}}, 4) == Approx(0.4));
  CHECK(best_possible_recall(boxes, {{10, 10}, {90, 120}}, 4) == Approx(0.6));
  CHECK(best_possible_recall(boxes, {}, 4) == 0);
  CHECK(best_possible_recall({}, {{10, 10}}, 4) == 1);
}

TEST_CASE("anchors are found where sizes of boxes cluster, the same with the same seed") {
  for (const std::uint64_t seed : {0, 1, 2}) {
    AutoAnchorOptions options;
    options.seed = seed;
    const auto anchors = find_anchors(planted_boxes(), 3, options);
    REQUIRE(anchors.size() == 3);
    for (std::size_t i = 0; i < 3; ++i) {
      CHECK(anchors[i].first == Approx(kPlanted[i].first).epsilon(0.04));
      CHECK(anchors[i].second == Approx(kPlanted[i].second).epsilon(0.04));
    }
    CHECK(anchors == find_anchors(planted_boxes(), 3, options));
  }
}

TEST_CASE("anchors that do not fit are replaced, small ones at small strides whatever the heads' order") {
  const std::vector<DetectionHead> heads = {head_of(32, {{800, 800}}), head_of(8, {{700, 700}, {900, 900}})};
  const auto fitted = fit_anchors(heads, planted_boxes());
  REQUIRE(fitted.size() == 2);
  REQUIRE(fitted[0].anchors.size() == 1);
  REQUIRE(fitted[1].anchors.size() == 2);
  CHECK(fitted[1].anchors[0].first == Approx(10).epsilon(0.04));
  CHECK(fitted[1].anchors[1].first == Approx(60).epsilon(0.04));
  CHECK(fitted[0].anchors[0].first == Approx(150).epsilon(0.04));
}

TEST_CASE("anchors that fit well enough stay, as they do without boxes") {
  const std::vector<DetectionHead> heads = {head_of(8, {{12, 12}, {50, 50}}), head_of(32, {{180, 180}})};
  CHECK(best_possible_recall(planted_boxes(), {{12, 12}, {50, 50}, {180, 180}}, 4) == 1);
  CHECK(fit_anchors(heads, planted_boxes())[0].anchors == heads[0].anchors);
  CHECK(fit_anchors(heads, {})[1].anchors == heads[1].anchors);
}

TEST_CASE("boxes of one size, and as many as anchors, do not disturb the search") {
  for (const auto& [width, height] : find_anchors({{20, 30}, {20, 30}, {20, 30}}, 3)) {
    CHECK(width > 0);
    CHECK(height > 0);
  }
}

TEST_CASE("anchors cannot be found for too few or impossible boxes") {
  CHECK_THROWS_WITH(find_anchors({{20, 30}}, 2), "anchors: 2 need as many boxes, got 1");
  CHECK_THROWS_WITH(find_anchors({{20, 30}}, 0), "anchors: expected at least one to look for, got 0");
  CHECK_THROWS_WITH(find_anchors({{20, 0}}, 1), "anchors: a box of 20.000000 x 0.000000 pixels");
  AutoAnchorOptions options;
  options.anchor_t = 1;
  CHECK_THROWS_WITH(find_anchors({{20, 30}}, 1, options), "anchors: anchor_t has to be above 1");
  CHECK_THROWS_WITH(fit_anchors({head_of(0, {{800, 800}})}, planted_boxes()),
                    "anchors: a head without a stride");
}
