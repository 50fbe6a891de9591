// SPDX-License-Identifier: Apache-2.0
// Rounding where numbers end or memory has gaps: infinities, NaN, channels that are nearly dead, strides.
#include <torch/torch.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "sparsify/quantization/fake_quantize.hpp"
#include "sparsify/quantization/weights.hpp"

using namespace sparsify;

namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kLargest = std::numeric_limits<float>::max();
const float kNaN = std::nanf("");

// The weight as a tensor of which every second column is used: no channel is one block of memory.
at::Tensor with_gaps(const at::Tensor& x) {
  auto wide = torch::full({x.size(0), 2 * x.size(1)}, 1e9);
  wide.slice(1, 0, 2 * x.size(1), 2).copy_(x);
  return wide.slice(1, 0, 2 * x.size(1), 2);
}

}  // namespace

TEST_CASE("a grid for any extent: a finite scale, a zero point within its integers") {
  const auto range = GENERATE(ActivationRange{0, 255, false}, ActivationRange{0, 255, true},
                              ActivationRange{-128, 127, true});
  const bool non_negative = GENERATE(false, true);
  for (const float low : {-kInf, -kLargest, -3e38f, -1.0f, 0.0f, 1e-38f, 3e38f, kInf, kNaN})
    for (const float high : {-kInf, -3e38f, 0.0f, 1e-38f, 1.0f, 3e38f, kLargest, kInf, kNaN}) {
      CAPTURE(low, high);
      const auto grid = make_grid({low, high}, range, non_negative);
      CHECK(std::isfinite(grid.scale));
      CHECK(grid.scale > 1e-30f);
      for (const auto end : {range.lowest, range.highest})
        CHECK(std::isfinite(grid.scale * static_cast<float>(end - grid.zero_point)));
      CHECK((grid.zero_point >= range.lowest && grid.zero_point <= range.highest));
    }
}

TEST_CASE("an infinite end counts as far away, one that is no number as 0") {
  const ActivationRange u8{0, 255, false};
  CHECK(make_grid({-kInf, 1}, u8, false).zero_point == 255);
  CHECK(make_grid({-1, kInf}, u8, false).zero_point == 0);
  CHECK(make_grid({-kInf, kInf}, u8, false).zero_point == 128);
  CHECK(make_grid({-kInf, kInf}, u8, false).scale == kLargest / 255);
  CHECK(make_grid({-3e38f, 3e38f}, u8, false).zero_point == 128);
  CHECK(make_grid({kNaN, 3}, u8, false).scale == make_grid({0, 3}, u8, false).scale);
  CHECK(make_grid({-1, kNaN}, u8, false).zero_point == 255);
  CHECK(make_grid({kNaN, kNaN}, u8, false).scale == 1);
  CHECK(make_grid({0, 1e38f}, u8, false).scale == 1e38f / 255);
}

TEST_CASE("weights that are infinite or no numbers: the same in every memory order") {
  auto weight = torch::tensor({{0.5f, -1.27f, 0.0f}, {kInf, 3.2f, -kInf}, {kNaN, 2.54f, -1.0f}});
  if (GENERATE(false, true)) weight = with_gaps(weight);
  CAPTURE(weight.is_contiguous());
  const Folded folded{{1, 1, 1}, {0.5, kInf, 0.5}};
  for (const auto* with : {static_cast<const Folded*>(nullptr), &folded}) {
    const auto scales = weight_scales(weight, with, 0.1);
    CHECK(scales[0].item<float>() == 1.27f / 127);
    CHECK(scales[1].item<float>() == 1);
    CHECK(scales[2].item<float>() == 2.54f / 127);
    const auto rounded = fake_quantize_weight(weight, scales);
    const auto integers = fake_quantize_weight(weight, scales, 127, Holds::kIntegers);
    CHECK(torch::equal(integers[0], torch::tensor({50.0f, -127.0f, 0.0f})));
    CHECK(torch::equal(integers[1], torch::tensor({127.0f, 3.0f, -127.0f})));
    CHECK(std::isnan(integers[2][0].item<float>()));
    CHECK(integers[2][1].item<float>() == 127);
    CHECK(torch::equal(rounded.nan_to_num(7), integers.mul(scales.view({-1, 1})).nan_to_num(7)));
  }
}

TEST_CASE("weights in any memory order are rounded alike, and so are their gradients") {
  const auto holds = GENERATE(Holds::kValues, Holds::kIntegers);
  const auto plain = torch::randn({5, 8});
  auto apart = with_gaps(plain).detach().requires_grad_(), together = plain.clone().requires_grad_();
  const auto scales = weight_scales(together, nullptr, 0);
  CHECK(torch::equal(weight_scales(apart, nullptr, 0), scales));
  const auto one = fake_quantize_weight(apart, scales, 127, holds),
             other = fake_quantize_weight(together, scales, 127, holds);
  CHECK(torch::equal(one, other));
  const auto gradient = torch::randn({5, 8});
  one.backward(gradient), other.backward(gradient);
  CHECK(torch::equal(apart.grad(), together.grad()));
}

TEST_CASE("the bias of a nearly dead channel fits as its scale stands in the file, in float32") {
  torch::manual_seed(1);
  constexpr std::int64_t kChannels = 5000;
  const auto weight = torch::randn({kChannels, 4}).mul(1e-12);
  Folded folded;
  for (const float k : std::vector<float>(kChannels))
    folded.k.push_back(k + torch::randn({}, at::kDouble).item<double>()),
        folded.b.push_back(torch::randn({}, at::kDouble).item<double>());
  const float input_scale = 0.0173f;
  const bool per_tensor = GENERATE(false, true);
  const auto scales = per_tensor ? tensor_weight_scales(weight, folded, input_scale)
                                 : weight_scales(weight, &folded, input_scale);
  double largest = 0;
  for (std::int64_t c = 0; c < kChannels; ++c) {
    const auto in_file = static_cast<float>(scales[c].item<float>() * std::fabs(folded.k[c]));
    largest = std::max(largest, std::fabs(folded.b[c]) / (static_cast<double>(input_scale) * in_file));
  }
  CHECK(largest <= 1 << 30);
  CHECK(largest > (1 << 30) * (1 - 1e-6));
}

TEST_CASE("what is no dense float tensor is rounded the same: values, gradient, extent") {
  const auto dtype = GENERATE(at::kFloat, at::kBFloat16, at::kHalf, at::kDouble);
  const auto layout = GENERATE(as<std::string>(), "every second", "expanded", "channels of channels_last");
  const auto grid = GENERATE(Grid{0.017f, 0, 0, 255}, Grid{0.021f, 0, -128, 127});
  CAPTURE(dtype, layout, grid.lowest);
  const auto whole = torch::randn({4, 6, 5, 8}).mul(2).to(dtype).contiguous(at::MemoryFormat::ChannelsLast);
  const auto seen_through = [&](const at::Tensor& x) {
    if (layout == "every second") return x.slice(3, 0, 8, 2);
    if (layout == "expanded") return x.slice(3, 0, 1).expand({4, 6, 5, 8});
    return x.slice(1, 1, 4);
  };
  auto mine = whole.clone().requires_grad_(), theirs = whole.clone().requires_grad_();
  const auto x = seen_through(mine);
  REQUIRE_FALSE(x.is_non_overlapping_and_dense());
  Extent seen;
  const auto result = fake_quantize(x, grid, &seen);
  const auto expected = at::fake_quantize_per_tensor_affine(seen_through(theirs).to(at::kFloat), grid.scale,
                                                            grid.zero_point, grid.lowest, grid.highest)
                            .to(dtype);
  CHECK(result.scalar_type() == dtype);
  CHECK(torch::equal(result, expected));
  CHECK(seen.low == x.min().item<float>());
  CHECK(seen.high == x.max().item<float>());
  const auto alone = extent_of(x);
  CHECK((alone.low == seen.low && alone.high == seen.high));
  if (layout == "channels of channels_last")
    CHECK(result.is_contiguous(at::MemoryFormat::ChannelsLast));  // as convolutions want it
  const auto gradient = torch::randn(x.sizes().vec()).to(dtype);
  result.backward(gradient), expected.backward(gradient);
  CHECK(torch::allclose(mine.grad(), theirs.grad(), 1e-2, 1e-2));
  CHECK(mine.grad().ne(0).equal(theirs.grad().ne(0)));
}
