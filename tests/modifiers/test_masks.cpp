// SPDX-License-Identifier: Apache-2.0
#include <torch/torch.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <cmath>
#include <limits>
#include <numeric>

#include "sparsify/masks.hpp"
#include "sparsify/masks/n_of_m.hpp"
#include "sparsify/masks/smallest.hpp"

using namespace sparsify;

namespace {

// The plain reference: sort all values, stable in tensor and memory order, and prune the first `pruned`.
// What is not a number comes last.
std::vector<std::vector<bool>> reference_masks(const std::vector<at::Tensor>& tensors, std::int64_t pruned,
                                               bool by_magnitude) {
  struct Element {
    float value;
    std::size_t tensor;
    std::int64_t index;
  };
  std::vector<Element> all;
  std::vector<std::vector<bool>> keep;
  for (std::size_t t = 0; t < tensors.size(); ++t) {
    const auto* values = tensors[t].const_data_ptr<float>();
    for (std::int64_t i = 0; i < tensors[t].numel(); ++i)
      all.push_back({by_magnitude ? std::fabs(values[i]) : values[i], t, i});
    keep.emplace_back(tensors[t].numel(), true);
  }
  std::stable_sort(all.begin(), all.end(), [](auto& a, auto& b) {
    return a.value < b.value || (std::isnan(b.value) && !std::isnan(a.value));
  });
  for (std::int64_t i = 0; i < pruned; ++i) keep[all[i].tensor][all[i].index] = false;
  return keep;
}

at::Tensor magnitude_mask(const at::Tensor& tensor, std::int64_t pruned) {
  return smallest_magnitude_masks({{tensor}}, {pruned}).front().front();
}

void check_against_reference(const std::vector<at::Tensor>& tensors, std::int64_t pruned,
                             bool by_magnitude = true) {
  const auto masks = (by_magnitude ? smallest_magnitude_masks({tensors}, {pruned})
                                   : smallest_value_masks({tensors}, {pruned}))
                         .front();
  const auto expected = reference_masks(tensors, pruned, by_magnitude);
  for (std::size_t t = 0; t < tensors.size(); ++t) {
    const auto* keep = masks[t].const_data_ptr<bool>();
    REQUIRE(masks[t].sizes() == tensors[t].sizes());
    for (std::int64_t i = 0; i < tensors[t].numel(); ++i)
      if (keep[i] != expected[t][i]) FAIL("tensor " << t << " element " << i << " of " << tensors[t].numel());
  }
}

// The definition of N:M, element by element, on a weight in any layout.
at::Tensor reference_n_of_m(const at::Tensor& weight, int64_t n, int64_t m) {
  const auto values = weight.abs().contiguous().reshape({weight.size(0), weight.size(1), -1});
  auto mask = torch::zeros_like(values, torch::kBool);
  for (int64_t out = 0; out < values.size(0); ++out)
    for (int64_t tap = 0; tap < values.size(2); ++tap)
      for (int64_t first = 0; first < values.size(1); first += m) {
        std::vector<int64_t> channels(m);
        std::iota(channels.begin(), channels.end(), first);
        const auto at = [&](int64_t channel) { return values[out][channel][tap].item<float>(); };
        std::stable_sort(channels.begin(), channels.end(), [&](auto a, auto b) { return at(a) > at(b); });
        for (int64_t i = 0; i < n; ++i) mask[out][channels[i]][tap] = true;
      }
  return mask.reshape(weight.sizes());
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

TEST_CASE("masks by value equal a stable sort, whatever is infinite or not a number") {
  torch::manual_seed(13);
  auto scores = torch::randn({70000});
  scores.slice(0, 0, 70000, 701).fill_(NAN);
  scores.slice(0, 1, 70000, 907).fill_(-NAN);
  scores.slice(0, 2, 70000, 1409).fill_(-std::numeric_limits<float>::infinity());
  for (const std::int64_t pruned : {1, 10, 3000, 35000, 69990})
    check_against_reference({scores, torch::randn({500}) - 1}, pruned, false);
  check_against_reference({torch::randint(-3, 4, {100000}).to(torch::kFloat)}, 40000, false);
}

TEST_CASE("a bracket that misleads is noticed, and every instruction set splits alike") {
  torch::manual_seed(14);
  // Sorted, constant in long runs, mostly zero, and one layer much larger in scale: nothing a sample expects.
  const std::vector<at::Tensor> hard = {std::get<0>(torch::randn({50000}).sort()),
                                        torch::arange(20).repeat_interleave(3001).to(torch::kFloat),
                                        torch::randn({60000}) * (torch::rand({60000}) > 0.9),
                                        torch::cat({torch::randn({40000}) * 1e-6, torch::randn({300})})};
  for (const auto& tensor : hard)
    for (const double share : {0.0001, 0.3, 0.85, 0.9, 0.995, 0.9999})
      check_against_reference({tensor}, std::llround(share * tensor.numel()));
  check_against_reference(hard, 150000);

  const auto values = torch::randn({100003});
  const sparsify::detail::Range bracket{sparsify::detail::ByMagnitude::key(0.5F),
                                        sparsify::detail::ByMagnitude::key(0.6F)};
  const auto split = [&](auto how) {
    auto keep = torch::empty({values.numel()}, torch::kBool);
    sparsify::detail::Part part(values.numel());
    REQUIRE(
        how(values.const_data_ptr<float>(), keep.mutable_data_ptr<bool>(), 7, values.numel(), bracket, part));
    std::vector<std::int64_t> found{part.below};
    for (const auto& [at, key] : part) found.push_back(at), found.push_back(key);
    return std::pair{keep.slice(0, 7), found};
  };
  const auto plain = split(sparsify::detail::split_plain<sparsify::detail::ByMagnitude>);
  CHECK(plain.second.size() > 5000);
  const auto check_same = [&](const auto& other) {
    CHECK(torch::equal(other.first, plain.first));
    CHECK(other.second == plain.second);
  };
  if (sparsify::detail::best_isa() >= sparsify::detail::Isa::kAvx2)
    check_same(split(sparsify::detail::split_avx2<sparsify::detail::ByMagnitude>));
  if (sparsify::detail::best_isa() >= sparsify::detail::Isa::kAvx512)
    check_same(split(sparsify::detail::split_avx512<sparsify::detail::ByMagnitude>));
}

TEST_CASE("ties are pruned in memory order, exactly as many as asked for") {
  torch::manual_seed(4);
  const auto coarse = torch::randint(-3, 4, {100000}).to(torch::kFloat);
  for (const std::int64_t pruned : {1, 777, 14285, 50000, 99999}) check_against_reference({coarse}, pruned);
  const auto same = torch::ones({70000});
  const auto mask = magnitude_mask(same, 40000);
  CHECK(mask.slice(0, 0, 40000).sum().item<int64_t>() == 0);
  CHECK(mask.slice(0, 40000).all().item<bool>());
}

TEST_CASE("magnitude masks of extreme values") {
  const float infinity = std::numeric_limits<float>::infinity();
  const auto values = torch::tensor({0.0f, -0.0f, 1e-42f, -infinity, NAN, 3.0f});
  const auto mask = magnitude_mask(values, 3);
  CHECK(torch::equal(mask, torch::tensor({false, false, false, true, true, true})));
  CHECK(magnitude_mask(torch::zeros({0}), 5).numel() == 0);
  CHECK(magnitude_mask(torch::zeros({7}), 3).sum().item<int64_t>() == 4);
}

TEST_CASE("masks keep the weight's layout and work on other types") {
  torch::manual_seed(5);
  const auto weight = torch::randn({16, 8, 3, 3}).contiguous(at::MemoryFormat::ChannelsLast);
  const auto mask = magnitude_mask(weight, 500);
  CHECK(mask.strides() == weight.strides());
  CHECK(mask.numel() - mask.sum().item<int64_t>() == 500);
  const auto threshold = weight.abs().flatten().kthvalue(500);
  CHECK(torch::equal(mask, weight.abs() > std::get<0>(threshold)));
  const auto half = magnitude_mask(weight.to(torch::kBFloat16), 500);
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

TEST_CASE("N:M masks equal their definition for every kernel shape, layout and tie") {
  torch::manual_seed(15);
  const auto coarse = GENERATE(false, true);
  const auto check_mask = [&](at::Tensor weight, NofM pattern) {
    if (coarse) weight = (weight * 2).round();
    INFO(weight.sizes() << " strides " << weight.strides() << ", " << pattern.n << ":" << pattern.m);
    const auto mask = n_of_m_mask(weight, pattern);
    CHECK(torch::equal(mask, reference_n_of_m(weight, pattern.n, pattern.m)));
    CHECK(mask.strides() == weight.strides());
  };
  for (const auto& pattern : {NofM{2, 4}, NofM{1, 4}, NofM{3, 4}, NofM{4, 8}}) {
    check_mask(torch::randn({5, 24}), pattern);
    check_mask(torch::randn({24, 5}).t(), pattern);
    check_mask(torch::randn({3, 8, 5}), pattern);
    for (const auto& kernel : std::vector<std::vector<int64_t>>{{1, 1}, {3, 3}, {1, 3}, {5, 5}, {2, 4}}) {
      const auto weight = torch::randn({3, 16, kernel[0], kernel[1]});
      check_mask(weight, pattern);
      check_mask(weight.contiguous(at::MemoryFormat::ChannelsLast), pattern);
    }
  }
}

TEST_CASE("N:M counts what is not finite as the largest, and of zeros keeps the first") {
  torch::manual_seed(16);
  const auto pattern = GENERATE(NofM{2, 4}, NofM{1, 4}, NofM{4, 8});
  for (auto weight : {torch::randn({6, 24}), torch::randn({6, 16, 3, 3}),
                      torch::randn({6, 16, 3, 3}).contiguous(at::MemoryFormat::ChannelsLast)}) {
    weight.masked_fill_(torch::rand_like(weight) < 0.3, 0);
    weight.masked_fill_(torch::rand_like(weight) < 0.1, -std::numeric_limits<float>::infinity());
    weight.masked_fill_(torch::rand_like(weight) < 0.1, NAN);
    weight[1].zero_();
    const auto finite = weight.nan_to_num(1e30, 1e29, -1e29);
    CHECK(torch::equal(n_of_m_mask(weight, pattern), reference_n_of_m(finite, pattern.n, pattern.m)));
  }
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
