// SPDX-License-Identifier: Apache-2.0
#include <torch/torch.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <cmath>
#include <limits>
#include <numeric>

#include "sparsify/masks.hpp"
#include "sparsify/masks/n_of_m.hpp"
#include "sparsify/masks/threshold.hpp"

using namespace sparsify;

namespace {

// The plain reference: sort all magnitudes, stable in tensor and memory order, and prune the first `pruned`.
std::vector<std::vector<bool>> reference_masks(const std::vector<at::Tensor>& tensors, std::int64_t pruned) {
  struct Element {
    float magnitude;
    std::size_t tensor;
    std::int64_t index;
  };
  std::vector<Element> all;
  std::vector<std::vector<bool>> keep;
  for (std::size_t t = 0; t < tensors.size(); ++t) {
    const auto* values = tensors[t].const_data_ptr<float>();
    for (std::int64_t i = 0; i < tensors[t].numel(); ++i) {
      const float m = std::fabs(values[i]);
      all.push_back({std::isnan(m) ? std::numeric_limits<float>::infinity() : m, t, i});
    }
    keep.emplace_back(tensors[t].numel(), true);
  }
  std::stable_sort(all.begin(), all.end(), [](auto& a, auto& b) { return a.magnitude < b.magnitude; });
  for (std::int64_t i = 0; i < pruned; ++i) keep[all[i].tensor][all[i].index] = false;
  return keep;
}

void check_against_reference(const std::vector<at::Tensor>& tensors, std::int64_t pruned) {
  const auto masks = smallest_magnitude_masks(tensors, pruned);
  const auto expected = reference_masks(tensors, pruned);
  for (std::size_t t = 0; t < tensors.size(); ++t) {
    const auto* keep = masks[t].const_data_ptr<bool>();
    REQUIRE(masks[t].sizes() == tensors[t].sizes());
    for (std::int64_t i = 0; i < tensors[t].numel(); ++i)
      if (keep[i] != expected[t][i]) FAIL("tensor " << t << " element " << i << " of " << tensors[t].numel());
  }
}

}  // namespace

TEST_CASE("magnitude masks equal a stable sort") {
  torch::manual_seed(3);
  const double fraction = GENERATE(0.0, 0.001, 0.5, 0.85, 0.999, 1.0);
  const std::vector<at::Tensor> tensors = {torch::randn({64, 32, 3, 3}), torch::randn({1}),
                                           torch::randn({300, 200}) * 1e-3};
  const std::int64_t total = 64 * 32 * 9 + 1 + 300 * 200;
  check_against_reference(tensors, std::llround(fraction * total));
  check_against_reference({tensors[0]}, std::llround(fraction * tensors[0].numel()));
}

TEST_CASE("ties are pruned in memory order, exactly as many as asked for") {
  torch::manual_seed(4);
  const auto coarse = torch::randint(-3, 4, {100000}).to(torch::kFloat);
  for (const std::int64_t pruned : {1, 777, 14285, 50000, 99999}) check_against_reference({coarse}, pruned);
  const auto same = torch::ones({70000});
  const auto mask = smallest_magnitude_masks({same}, 40000).front();
  CHECK(mask.slice(0, 0, 40000).sum().item<int64_t>() == 0);
  CHECK(mask.slice(0, 40000).all().item<bool>());
}

TEST_CASE("magnitude masks of extreme values") {
  const float infinity = std::numeric_limits<float>::infinity();
  const auto values = torch::tensor({0.0f, -0.0f, 1e-42f, -infinity, NAN, 3.0f});
  const auto mask = smallest_magnitude_masks({values}, 3).front();
  CHECK(torch::equal(mask, torch::tensor({false, false, false, true, true, true})));
  CHECK(smallest_magnitude_masks({torch::zeros({0})}, 5).front().numel() == 0);
  CHECK(smallest_magnitude_masks({torch::zeros({7})}, 3).front().sum().item<int64_t>() == 4);
}

TEST_CASE("masks keep the weight's layout and work on other types") {
  torch::manual_seed(5);
  const auto weight = torch::randn({16, 8, 3, 3}).contiguous(at::MemoryFormat::ChannelsLast);
  const auto mask = smallest_magnitude_masks({weight}, 500).front();
  CHECK(mask.strides() == weight.strides());
  CHECK(mask.numel() - mask.sum().item<int64_t>() == 500);
  const auto threshold = weight.abs().flatten().kthvalue(500);
  CHECK(torch::equal(mask, weight.abs() > std::get<0>(threshold)));
  const auto half = smallest_magnitude_masks({weight.to(torch::kBFloat16)}, 500).front();
  CHECK(half.numel() - half.sum().item<int64_t>() == 500);
}

TEST_CASE("applying a mask clears NaN and keeps everything else") {
  for (const auto type : {torch::kFloat, torch::kBFloat16, torch::kDouble}) {
    auto values = torch::tensor({1.0f, NAN, -2.5f, 4.0f}).to(type);
    apply_mask_(values, torch::tensor({true, false, true, false}));
    CHECK(torch::equal(values, torch::tensor({1.0f, 0.0f, -2.5f, 0.0f}).to(type)));
  }
  torch::manual_seed(6);
  auto weight = torch::randn({40, 64, 3, 3}).contiguous(at::MemoryFormat::ChannelsLast);
  const auto mask = torch::rand({40, 64, 3, 3}) > 0.5;  // another layout than the weight: the slow path
  const auto expected = weight * mask;
  auto fast = weight.clone();
  apply_mask_(fast, mask.contiguous(at::MemoryFormat::ChannelsLast));
  apply_mask_(weight, mask);
  CHECK(torch::equal(weight, expected));
  CHECK(torch::equal(fast, expected));
}

TEST_CASE("2:4 masks keep the two largest of every four input channels, per output channel and tap") {
  torch::manual_seed(7);
  const auto layout = GENERATE(at::MemoryFormat::Contiguous, at::MemoryFormat::ChannelsLast);
  const auto weight = torch::randn({24, 16, 3, 3}).contiguous(layout);
  const auto mask = n_of_m_mask(weight, {2, 4});
  const auto groups = weight.abs().reshape({24, 4, 4, 9});
  const auto kept = std::get<0>((weight.abs() * mask).reshape({24, 4, 4, 9}).sort(2, true));
  const auto largest = std::get<0>(groups.sort(2, true));
  CHECK(torch::equal(kept.slice(2, 0, 2), largest.slice(2, 0, 2)));
  CHECK(kept.slice(2, 2).abs().max().item<float>() == 0);
  CHECK(mask.strides() == weight.strides());
  CHECK(obeys(weight * mask, {2, 4}));
  CHECK_FALSE(obeys(weight, {2, 4}));
}

TEST_CASE("N:M by hand, ties keep the lower channel, odd widths are refused") {
  const auto weight = torch::tensor({{1.f, -3.f, 2.f, 0.5f, 5.f, 5.f, -5.f, 5.f}});
  CHECK(torch::equal(n_of_m_mask(weight, {2, 4}),
                     torch::tensor({{false, true, true, false, true, true, false, false}})));
  CHECK(n_of_m_mask(weight, {1, 8}).nonzero().select(1, 1).item<int64_t>() == 4);
  CHECK_THROWS_AS(n_of_m_mask(torch::ones({4, 6}), NofM{}), Error);
  CHECK(parse_n_of_m("1:4").sparsity() == 0.75);
  for (const auto* text : {"4:2", "2:", "2:4x", "0:4", "two", "2:128"})
    CHECK_THROWS_AS(parse_n_of_m(text), InvalidField);
}

TEST_CASE("saved masks are checked against their hash, name and shape") {
  Parameter weight{"conv.weight", torch::randn({8, 4})};
  Masks masks;
  masks.set(weight, torch::rand({8, 4}) > 0.5);
  StateDict saved;
  masks.save(saved);
  Masks restored;
  restored.load(saved, {weight});
  CHECK(torch::equal(restored.find("conv.weight"), masks.find("conv.weight")));

  auto damaged = saved;
  damaged["masks.conv.weight"] = saved["masks.conv.weight"].logical_not();
  CHECK_THROWS_AS(restored.load(damaged, {weight}), Error);
  CHECK_THROWS_AS(restored.load(saved, {Parameter{"other.weight", torch::randn({8, 4})}}), Error);
  CHECK_THROWS_AS(restored.load(saved, {Parameter{"conv.weight", torch::randn({4, 8})}}), Error);
}

TEST_CASE("masks reach averaged copies") {
  Parameter weight{"w.weight", torch::ones({4, 4})};
  Masks masks;
  masks.set(weight, torch::eye(4).to(torch::kBool));
  StateDict copies{{"w.weight", torch::full({4, 4}, 3.0f)}, {"w.bias", torch::ones({4})}};
  masks.apply_to(copies);
  CHECK(torch::equal(copies["w.weight"], torch::eye(4) * 3));
  CHECK(torch::equal(copies["w.bias"], torch::ones({4})));
}
