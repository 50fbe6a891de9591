// SPDX-License-Identifier: Apache-2.0
// Detectors' boxes at the end of a file, beside what our own code makes of the same maps.
#include <torch/torch.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "sparsify/detection/box_output.hpp"
#include "sparsify/error.hpp"
#include "sparsify/onnx/check.hpp"
#include "support.hpp"

namespace sparsify::onnx::testing {
namespace {

using detection::BoxOutput;
using detection::BoxReader;
using detection::DetectionHead;

constexpr std::int64_t kClasses = 3, kSide = 64;

std::vector<DetectionHead> heads() {
  return {{{{10, 14}, {23, 27}}, kClasses, detection::BoxCoding::kUltralytics, 1, 16},
          {{{30, 40}, {50, 20}}, kClasses, detection::BoxCoding::kDarknet, 1.2, 8}};
}

// The coarse map is what is given, the fine one is made of it.
detection::Maps maps_of(const at::Tensor& coarse) {
  return {coarse, at::upsample_nearest2d(coarse, {8, 8}) * 0.7 + 0.3};
}

// Many boxes that overlap, some of equal score, one image without any.
at::Tensor coarse_maps() {
  auto maps = torch::randn({3, 2 * (5 + kClasses), 4, 4}, at::make_generator<at::CPUGeneratorImpl>(1)) * 1.5;
  maps[1].narrow(0, 4, 1).fill_(-9), maps[1].narrow(0, 4 + 5 + kClasses, 1).fill_(-9);
  maps[2].narrow(2, 0, 2).copy_(maps[2].narrow(2, 2, 2));
  return maps;
}

struct DecodingImpl : torch::nn::Module {
  explicit DecodingImpl(BoxOutput output) : reader{heads(), output} {}
  std::vector<at::Tensor> forward(const at::Tensor& coarse) {
    return reader.from_raw(maps_of(coarse), kSide, kSide, {});
  }
  BoxReader reader;
};

std::vector<at::Tensor> run_file(const at::Tensor& maps, BoxOutput output, ExportOptions options = {}) {
  const Folder folder;
  DecodingImpl decoding(output == BoxOutput::kNms ? BoxOutput::kDecoded : output);
  export_model(decoding, maps.narrow(0, 0, 1).contiguous(), options, folder / "boxes.onnx");
  check_model(folder / "boxes.onnx");
  return Engine(folder / "boxes.onnx").run(std::vector<at::Tensor>{maps});
}

ExportOptions with_nms(const detection::NmsOptions& nms) {
  ExportOptions options;
  options.non_max_suppression = BoxSelection{nms.confidence, nms.iou, nms.max_det};
  return options;
}

}  // namespace

TEST_CASE("boxes decoded in a file are those that we decode, for any number of images") {
  const auto maps = coarse_maps();
  const auto expected = decode(maps_of(maps), heads(), kSide, kSide);
  const auto boxes = run_file(maps, BoxOutput::kDecoded);
  REQUIRE(boxes.size() == 1);
  REQUIRE(boxes[0].sizes() == expected.sizes());
  CHECK(largest_difference(boxes[0], expected) < 1e-3);
}

TEST_CASE("non-maximum suppression in a file leaves the boxes that ours leaves") {
  const auto maps = coarse_maps();
  for (const detection::NmsOptions nms : {detection::NmsOptions{}, {0.05, 0.3, 300}, {0.05, 0.6, 7}}) {
    CAPTURE(nms.confidence, nms.iou, nms.max_det);
    const auto expected =
        BoxReader{heads(), BoxOutput::kNms}.from_raw(maps_of(maps), kSide, kSide, nms).front();
    const auto rows = run_file(maps, BoxOutput::kNms, with_nms(nms)).front();
    REQUIRE(rows.sizes() == expected.sizes());
    CHECK(largest_difference(rows, expected) < 1e-3);
    CHECK(expected.select(2, 4).gt(0).sum(1)[0].item<std::int64_t>() > 3);
    CHECK(rows[1].abs().max().item<double>() == 0);
  }
}

TEST_CASE("a file cannot end with non-maximum suppression of what is not boxes") {
  CHECK_THROWS_WITH(run_file(coarse_maps(), BoxOutput::kRaw, with_nms({})),
                    Catch::Matchers::ContainsSubstring("expected one output of boxes"));
  CHECK_THROWS_WITH(run_file(coarse_maps(), BoxOutput::kNms, with_nms({.confidence = 1.5})),
                    Catch::Matchers::ContainsSubstring("from 0 to 1"));
}

}  // namespace sparsify::onnx::testing
