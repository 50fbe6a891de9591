// SPDX-License-Identifier: Apache-2.0
#include <torch/torch.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "sparsify/detection/box_output.hpp"
#include "sparsify/error.hpp"

namespace sparsify::detection {
namespace {

const NmsOptions kMany{.confidence = 0.05, .iou = 0.5, .max_det = 12};

BoxReader reader(BoxOutput output) {
  return {{{{{8, 12}, {20, 16}}, 2, BoxCoding::kUltralytics, 1, 8}}, output};
}

}  // namespace

TEST_CASE("objects are the same however far a detector's outputs have come") {
  const Outputs maps = {torch::randn({2, 14, 4, 6}, at::make_generator<at::CPUGeneratorImpl>(3))};
  const auto expected = reader(BoxOutput::kRaw).objects(maps, 32, 48, kMany);
  REQUIRE(expected.size() == 2);
  REQUIRE(expected[0].size() > 2);
  for (const auto output : {BoxOutput::kDecoded, BoxOutput::kNms}) {
    const auto further = reader(output);
    const auto found = further.objects(further.from_raw(maps, 32, 48, kMany), 32, 48, kMany);
    REQUIRE(found.size() == 2);
    for (std::size_t image = 0; image < 2; ++image) {
      REQUIRE(found[image].size() == expected[image].size());
      for (std::size_t i = 0; i < found[image].size(); ++i) {
        CHECK(found[image][i].x1 == expected[image][i].x1);
        CHECK(found[image][i].y2 == expected[image][i].y2);
        CHECK(found[image][i].score == expected[image][i].score);
        CHECK(found[image][i].label == expected[image][i].label);
      }
    }
  }
}

TEST_CASE("what non-maximum suppression has left is cut at the confidence and at max_det") {
  auto rows = torch::zeros({1, 4, 6});
  for (int i = 0; i < 3; ++i) rows[0][i] = torch::tensor({1.F, 2.F, 3.F, 4.F, 0.9F - 0.3F * i, 1.F});
  const auto count = [&](const NmsOptions& options) {
    return reader(BoxOutput::kNms).objects({rows}, 32, 32, options)[0].size();
  };
  CHECK(count({.confidence = 0}) == 3);
  CHECK(count({.confidence = 0.5}) == 2);
  CHECK(count({.confidence = 0, .max_det = 1}) == 1);
}

TEST_CASE("names of box outputs are read as they are written") {
  for (const auto output : {BoxOutput::kRaw, BoxOutput::kDecoded, BoxOutput::kNms})
    CHECK(parse_box_output(name(output)) == output);
  CHECK_THROWS_WITH(parse_box_output("boxes"),
                    Catch::Matchers::ContainsSubstring("expected raw, decoded or nms"));
}

}  // namespace sparsify::detection
