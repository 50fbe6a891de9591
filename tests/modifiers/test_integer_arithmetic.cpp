// SPDX-License-Identifier: Apache-2.0
#include <torch/torch.h>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <cmath>

#include "sparsify/quantization/integer_arithmetic.hpp"
#include "sparsify/quantization/integer_sums.hpp"

using namespace sparsify;

namespace {

float clipped(float integer, const Grid& to) {
  return std::clamp(integer, static_cast<float>(to.lowest - to.zero_point),
                    static_cast<float>(to.highest - to.zero_point));
}

at::Tensor random_integers(at::IntArrayRef sizes, std::int64_t low, std::int64_t high) {
  return torch::randint(low, high, sizes).to(torch::kFloat);
}

}  // namespace

TEST_CASE("integer sums: bias, one factor and one rounding, as an int32 accumulator has them") {
  const bool channels_last = GENERATE(false, true);
  const bool rounds = GENERATE(false, true);
  const auto clip = GENERATE(Clip{}, Clip{0}, Clip{0, 1.25f});
  const Grid grid{0.037f, 121, 0, 255};
  SumForm form{
      {1, -1, 0, 1, -1}, {3, -70000, 1 << 20, (1 << 30) - 77, 0}, {3e-4f, 7e-5f, 1e-6f, 2e-9f, 1e-3f}};
  const auto sums = random_integers({2, 5, 7, 9}, -200000, 200000);
  const auto mine = channels_last ? sums.contiguous(at::MemoryFormat::ChannelsLast).clone() : sums.clone();
  finish_sums(mine, 1, form, rounds ? &grid : nullptr, clip);
  const auto given = sums.accessor<float, 4>(), found = mine.accessor<float, 4>();
  for (int n = 0; n < 2; ++n)
    for (int c = 0; c < 5; ++c)
      for (int i = 0; i < 63; ++i) {
        const auto accumulator =
            static_cast<std::int64_t>(given[n][c][i / 9][i % 9]) * static_cast<std::int64_t>(form.sign[c]) +
            static_cast<std::int64_t>(form.bias[c]);
        const auto sum = static_cast<float>(static_cast<std::int32_t>(accumulator));
        const float expected = rounds ? clipped(std::nearbyint(sum * (form.factor[c] / grid.scale)), grid)
                                      : sum * form.factor[c];
        const float highest = rounds ? std::nearbyint(clip.highest / grid.scale) : clip.highest;
        const float between = std::min(std::max(expected, clip.lowest), highest);
        if (found[n][c][i / 9][i % 9] != between) FAIL(found[n][c][i / 9][i % 9]);
      }
}

TEST_CASE("integer sums: a linear layer's channels are its last dimension") {
  const SumForm form{{1, 1, -1}, {5, -6, 7}, {0.5f, 0.25f, 2.0f}};
  const auto mine = torch::tensor({{{4.F, 8.F, 1.F}, {0.F, 0.F, 0.F}}});
  finish_sums(mine, 2, form, nullptr, {});
  CHECK(torch::equal(mine, torch::tensor({{{4.5F, 0.5F, 12.F}, {2.5F, -1.5F, 14.F}}})));
}

TEST_CASE(
    "integer sums: batch norm gives them its sign, its scale and its bias, and one without weight a bias "
    "alone") {
  Parameters parameters, buffers;
  const auto vector = [](std::vector<float> values) { return torch::tensor(values); };
  parameters.push_back({"bn.weight", vector({2, -3, 0})});
  parameters.push_back({"bn.bias", vector({0.5, 1, -0.75})});
  buffers.push_back({"bn.running_mean", vector({1, 2, 3})});
  buffers.push_back({"bn.running_var", vector({3.99999, 8.99999, 1})});
  WeightQuantizer layer;
  layer.site = "conv.weight", layer.batch_norm = "bn", layer.eps = 1e-5;
  const auto form = sum_form(layer, vector({0.01, 0.02, 0.03}), 0.5f, parameters, buffers);
  CHECK(form.sign == std::vector<double>{1, -1, 0});
  CHECK(std::fabs(form.factor[0] - 0.01f * 0.5f) < 1e-8f);  // |gamma| / sqrt(var + eps) is 1
  CHECK(std::fabs(form.factor[1] - 0.02f * 0.5f) < 1e-8f);
  CHECK(form.bias[0] == std::nearbyint((0.5 - 1) / form.factor[0]));
  CHECK(form.bias[1] == std::nearbyint((1 + 2) / form.factor[1]));
  CHECK(std::fabs(form.bias[2] * form.factor[2] + 0.75) < 1e-6);
  CHECK(std::fabs(form.bias[2]) <= 1 << 20);

  parameters[1].tensor[2] = 0;  // with one scale for all channels, that of the others
  layer.per_tensor = true;
  const auto common = sum_form(layer, vector({0.01, 0.01, 0.01}), 0.5f, parameters, buffers);
  CHECK(common.sign == std::vector<double>{1, -1, 0});
  CHECK(common.factor == std::vector<float>(3, std::max(common.factor[0], common.factor[1])));
  CHECK(std::fabs(common.factor[2] - 0.01f * 0.5f) < 1e-8f);
  CHECK(common.bias[2] == 0);
}

TEST_CASE("integer addition: ratios of scales in fused multiply-adds, for every pair of integers") {
  const Grid of_a{0.11093808710575104f, 116, 0, 255}, of_b{0.12751705944538116f, 138, 0, 255};
  const Grid to{0.13601462543010712f, 141, 0, 255};
  const auto steps = torch::arange(256, torch::kFloat);
  const auto a = (steps - 116).view({256, 1}).expand({256, 256}),
             b = (steps - 138).view({1, 256}).expand({256, 256});
  const auto sums = add_integers(a.contiguous(), of_a, b, of_b, to);  // b has no memory of its own
  const float ratio_a = of_a.scale / to.scale, ratio_b = of_b.scale / to.scale;
  const float fixed = 141 - std::fma(ratio_a, 116.0f, ratio_b * 138.0f);
  for (int i = 0; i < 256; ++i)
    for (int j = 0; j < 256; ++j) {
      const float sum =
          std::fma(static_cast<float>(i), ratio_a, std::fma(static_cast<float>(j), ratio_b, fixed));
      if (sums[i][j].item<float>() != clipped(std::nearbyint(sum) - 141, to)) FAIL(i << ", " << j);
    }
}

TEST_CASE("integer product: one factor, and a gate for every channel") {
  const Grid of_a{0.05f, 100, 0, 255}, of_b{1.0f / 255, 0, 0, 255}, to{0.03f, 90, 0, 255};
  const auto a = random_integers({2, 3, 4, 5}, -100, 156), gate = random_integers({2, 3, 1, 1}, 0, 256);
  const auto found = multiply_integers(a, of_a, gate, of_b, to);
  const float ratio = 0.05f * (1.0f / 255) / 0.03f;
  for (int i = 0; i < 120; ++i) {
    const float product = a.flatten()[i].item<float>() * gate.flatten()[i / 20].item<float>();
    CHECK(found.flatten()[i].item<float>() == clipped(std::nearbyint(product * ratio + 90) - 90, to));
  }
}

TEST_CASE("integer average: the sum, one factor, one rounding") {
  const Grid of_x{0.02f, 30, 0, 255}, to{0.01f, 17, 0, 255};
  const auto x = random_integers({2, 3, 4, 6}, -30, 226);
  const auto found = average_integers(x, of_x, to);
  const auto sum = x.sum({2, 3}, true);
  CHECK(found.sizes() == at::IntArrayRef{2, 3, 1, 1});
  for (int i = 0; i < 6; ++i) {
    const float expected = std::nearbyint(sum.flatten()[i].item<float>() * (0.02f / (0.01f * 24)));
    CHECK(found.flatten()[i].item<float>() == clipped(expected, to));
  }
}
