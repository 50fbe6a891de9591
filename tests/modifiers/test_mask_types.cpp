// SPDX-License-Identifier: Apache-2.0
#include <torch/torch.h>

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "sparsify/modifiers/global_magnitude_pruning.hpp"
#include "sparsify/modifiers/magnitude_pruning.hpp"
#include "sparsify/modifiers/movement_pruning.hpp"
#include "sparsify/session.hpp"
#include "training.hpp"

using namespace sparsify;
using namespace sparsify::test;
using Catch::Approx;
using Catch::Matchers::ContainsSubstring;

TEST_CASE("mask types are parsed, and say what was expected") {
  CHECK(MaskType::parse("unstructured").kind == MaskType::Kind::kElements);
  CHECK(MaskType::parse("block4").block.in == 4);
  CHECK(MaskType::parse(Value::list({2, -1})).block.out == 2);
  CHECK(MaskType::parse(Value::list({2, -1})).block.in == -1);
  CHECK(MaskType::parse("tensorrt").pattern.n == 2);
  CHECK(MaskType::parse("4:8").pattern.m == 8);
  const std::vector<Value> wrong = {
      "blocks", Value::list({1}), Value::list({1, 0}), Value::list({1.5, 4}), Value::list({1, "x"}),
      4,        Value()};
  for (const auto& value : wrong) CHECK_THROWS_AS(MaskType::parse(value), InvalidField);
  CHECK_THROWS_WITH(MaskType::parse("blocks"), ContainsSubstring("block4") && ContainsSubstring("'blocks'"));
}

TEST_CASE("block scores and masks, against their definition; edges are smaller blocks") {
  torch::manual_seed(21);
  const auto layout = GENERATE(at::MemoryFormat::Contiguous, at::MemoryFormat::ChannelsLast);
  const auto weight = torch::randn({6, 10, 3, 2}).contiguous(layout);
  for (const auto& shape : {BlockShape{1, 4}, BlockShape{2, 3}, BlockShape{4, -1}, BlockShape{1, -1, true},
                            BlockShape{-1, 1, true}}) {
    const auto scores = block_scores(weight, shape);
    const auto rows = shape.out < 0 ? 6 : shape.out, columns = shape.in < 0 ? 10 : shape.in;
    REQUIRE(scores.size(0) == (6 + rows - 1) / rows);
    REQUIRE(scores.size(1) == (10 + columns - 1) / columns);
    REQUIRE(scores.size(2) == (shape.all_taps ? 1 : 6));
    const auto kept = torch::rand(scores.sizes()) > 0.5;
    const auto mask = mask_of_blocks(kept, weight, shape);
    CHECK(mask.strides() == weight.strides());
    for (int64_t r = 0; r < scores.size(0); ++r)
      for (int64_t c = 0; c < scores.size(1); ++c)
        for (int64_t t = 0; t < scores.size(2); ++t) {
          const auto part = [&](const at::Tensor& whole) {
            const auto block = whole.contiguous()
                                   .reshape({6, 10, 6})
                                   .slice(0, r * rows, (r + 1) * rows)
                                   .slice(1, c * columns, (c + 1) * columns);
            return shape.all_taps ? block : block.select(2, t);
          };
          CHECK(scores[r][c][t].item<float>() == Approx(part(weight).abs().mean().item<float>()));
          CHECK(part(mask).eq(kept[r][c][t]).all().item<bool>());
        }
  }
  CHECK(block_scores(-torch::ones({2, 4}), {1, 4}, true).eq(-1).all().item<bool>());
}

TEST_CASE("gradual pruning under every mask type reaches its target, and keeps the structure at every step") {
  const auto type =
      GENERATE(Value("block4"), Value::list({2, 4}), Value("filter"), Value("channel"), Value("2:4"));
  auto net = conv_net();
  auto sgd = make_optimizer("sgd", net);
  GradualPruningOptions options;
  options.window = {0, 2}, options.update_frequency = 0.3, options.final_sparsity = 0.5;
  options.params = {"3.weight", "9.weight"}, options.mask_type = type;
  Recipe recipe;
  const bool global = GENERATE(true, false);
  if (global && (type == Value("filter") || type == Value("channel"))) {
    Recipe whole;
    whole.add<GlobalMagnitudePruning>(options);
    CHECK_THROWS_WITH(Session(whole, *net, *sgd, 7), ContainsSubstring("cannot compete"));
    return;
  }
  global ? recipe.add<GlobalMagnitudePruning>(options) : recipe.add<MagnitudePruning>(options);
  Session session(recipe, *net, *sgd, 7);
  const auto mask_type = MaskType::parse(type);
  std::vector<double> history;
  train(session, net, *sgd, 14, [&] {
    const auto mask = session.masks().find("3.weight");
    history.push_back(sparsity(mask));
    if (mask_type.kind != MaskType::Kind::kBlocks) return;
    const auto scores = block_scores(mask.to(torch::kFloat), mask_type.block);
    CHECK(scores.eq(0).logical_or(scores.eq(1)).all().item<bool>());
  });
  session.finish();
  CHECK(std::is_sorted(history.begin(), history.end()));
  CHECK(history.front() < 0.2);
  if (mask_type.kind == MaskType::Kind::kNofM) {
    CHECK(obeys(weight_of(net, "3.weight"), {2, 4}));
    CHECK(sparsity(weight_of(net, "3.weight")) == 0.5);
    CHECK(history[7] > 0.1);  // gradual: on the way some groups are still dense
    CHECK(history[7] < 0.5);
  }
  std::int64_t zeros = 0, total = 0;
  for (const auto* name : {"3.weight", "9.weight"}) {
    zeros += weight_of(net, name).eq(0).sum().item<int64_t>();
    total += weight_of(net, name).numel();
  }
  CHECK(double(zeros) / double(total) == Approx(0.5).margin(0.05));
}

TEST_CASE("gradual N:M leaves out what sparse kernels cannot use, unless told otherwise") {
  auto net = conv_net();
  auto sgd = make_optimizer("sgd", net);
  GradualPruningOptions options;
  options.window = {0, 2}, options.final_sparsity = 0.5, options.mask_type = "2:4";
  const auto dense_layers = [&] {
    Recipe recipe;
    recipe.add<MagnitudePruning>(options);
    return Session(recipe, *net, *sgd, 7).state().notes;
  };
  const std::string narrow = "2:4: 0.weight stays dense: 3 input channels are not a multiple of 4";
  CHECK(dense_layers() ==
        std::vector<std::string>{narrow, "2:4: 6.weight stays dense: a grouped convolution"});
  options.eligible.exclude_grouped = false;
  CHECK(dense_layers() == std::vector<std::string>{narrow});
  options.eligible.min_channels = 17;
  CHECK(dense_layers() ==
        std::vector<std::string>{narrow, "2:4: 3.weight stays dense: fewer than 17 input channels",
                                 "2:4: 6.weight stays dense: fewer than 17 input channels"});
  options.params = {"0.weight"};
  CHECK_THROWS_WITH(dense_layers(), ContainsSubstring("no selected weight can be pruned 2:4 (0.weight: 3"));
  options.final_sparsity = 0.8;
  CHECK_THROWS_WITH(dense_layers(), ContainsSubstring("final_sparsity: expected 0.500"));
}

TEST_CASE("gradual N:M of other patterns, by movement as by magnitude, ends exactly in the pattern") {
  const auto [text, sparsity_at_end] = GENERATE(std::pair{"1:4", 0.75}, std::pair{"4:8", 0.5});
  const bool by_movement = GENERATE(false, true);
  auto net = conv_net();
  auto sgd = make_optimizer("sgd", net);
  GradualPruningOptions options;
  options.window = {0, 2}, options.update_frequency = 0.5, options.final_sparsity = sparsity_at_end;
  options.mask_type = text, options.eligible.exclude_grouped = false;
  Recipe recipe;
  by_movement ? recipe.add<MovementPruning>(options) : recipe.add<MagnitudePruning>(options);
  Session session(recipe, *net, *sgd, 6);
  train(session, net, *sgd, 12);
  session.finish();
  for (const auto* name : {"3.weight", "6.weight", "9.weight"}) {
    CHECK(obeys(weight_of(net, name), parse_n_of_m(text)));
    CHECK(sparsity(weight_of(net, name)) == sparsity_at_end);
  }
}

TEST_CASE("schedules between their ends, by the formulas of Zhu and Gupta and by hand") {
  CHECK(interpolate(Interpolation::kLinear, 0.1, 0.9, 0.25) == Approx(0.3));
  CHECK(interpolate(Interpolation::kCubic, 0.05, 0.85, 0.5) == Approx(0.85 - 0.8 * 0.125));
  CHECK(interpolate(Interpolation::kInverseCubic, 0.0, 0.8, 0.875) == Approx(0.8 * 0.5));
  // Updates at steps 0, 2, 4, 6 and the last one, 7; 32 weights.
  OneWeight one(torch::arange(1, 33).to(torch::kFloat).reshape({4, 8}));
  const auto [name, counts] = GENERATE(table<std::string, std::vector<int64_t>>(
      {{"linear", {0, 0, 7, 7, 14, 14, 21, 24}}, {"inverse_cubic", {0, 0, 3, 3, 6, 6, 11, 24}}}));
  GradualPruningOptions options;
  options.window = {0, 1}, options.init_sparsity = 0.0, options.final_sparsity = 0.75;
  options.update_frequency = 0.25, options.inter_func = name;
  Recipe recipe;
  recipe.add<MagnitudePruning>(options);
  Session session(recipe, *one.net, one.sgd, 8);
  std::vector<int64_t> zeros;
  for (int i = 0; i < 8; ++i) {
    one.step(session, torch::zeros({4, 8}));
    zeros.push_back(one.weight().eq(0).sum().item<int64_t>());
  }
  CHECK(zeros == counts);
}

TEST_CASE("a sparsity for each group of layers: the first match wins, counts are exact") {
  auto net = conv_net();
  auto sgd = make_optimizer("sgd", net);
  GradualPruningOptions options;
  options.window = {0, 2};
  options.final_sparsity =
      Value::mapping({{"0.25", Value::list({"0.weight", "3.weight"})}, {"0.75", Value("__ALL_PRUNABLE__")}});
  Recipe recipe;
  recipe.add<MagnitudePruning>(options);
  Session session(recipe, *net, *sgd, 6);
  train(session, net, *sgd, 12);
  session.finish();
  for (const auto* name : {"0.weight", "3.weight"}) CHECK(sparsity(weight_of(net, name)) == 0.25);
  for (const auto* name : {"6.weight", "9.weight"}) CHECK(sparsity(weight_of(net, name)) == 0.75);
  options.final_sparsity = Value::mapping({{"0.5", Value("__ALL_PRUNABLE__")}, {"0.75", Value("3.weight")}});
  Recipe shadowed;
  shadowed.add<MagnitudePruning>(options);
  CHECK_THROWS_WITH(Session(shadowed, *net, *sgd, 6),
                    ContainsSubstring("earlier entries have all parameters"));
  options.final_sparsity = 0.5, options.params = {"3.weight"}, options.exclude = {"3.weight"};
  Recipe nothing;
  nothing.add<MagnitudePruning>(options);
  CHECK_THROWS_WITH(Session(nothing, *net, *sgd, 6), ContainsSubstring("select no parameter"));
}

TEST_CASE("__FROM_PARAM__ begins with the zeros it finds, also after a resume") {
  const auto run = [](bool interrupted) {
    OneWeight one(torch::arange(-8, 8).to(torch::kFloat).reshape({2, 8}));
    {
      const torch::NoGradGuard no_grad;
      one.net->weight.masked_fill_(one.net->weight.abs() <= 2, 0);  // 5 of 16
    }
    GradualPruningOptions options;
    options.window = {0, 1}, options.init_sparsity = "__FROM_PARAM__", options.final_sparsity = 0.75;
    options.inter_func = "linear";
    Recipe recipe;
    recipe.add<MagnitudePruning>(options);
    auto session = std::make_unique<Session>(recipe, *one.net, one.sgd, 8);
    std::vector<int64_t> zeros;
    for (int i = 0; i < 8; ++i) {
      if (interrupted && i == 3) {
        const auto state = session->state_dict();
        session = std::make_unique<Session>(recipe, *one.net, one.sgd, 8);
        session->load_state_dict(state);
      }
      one.step(*session, torch::zeros({2, 8}));
      zeros.push_back(one.weight().eq(0).sum().item<int64_t>());
    }
    session->finish();
    return zeros;
  };
  CHECK(run(false) == std::vector<int64_t>{5, 6, 7, 8, 9, 10, 11, 12});
  CHECK(run(true) == run(false));
}

TEST_CASE("odd weights are noted: all zero, smaller than a block, emptied") {
  auto net = conv_net();
  auto sgd = make_optimizer("sgd", net);
  {
    const torch::NoGradGuard no_grad;
    weight_of(net, "9.weight").zero_();
  }
  GradualPruningOptions options;
  options.window = {0, 1}, options.final_sparsity = 1.0, options.mask_type = Value::list({1, 4});
  options.params = {"0.weight", "9.weight"};
  Recipe recipe;
  recipe.add<MagnitudePruning>(options);
  Session session(recipe, *net, *sgd, 4);
  train(session, net, *sgd, 4);
  session.finish();
  CHECK(session.state().notes ==
        std::vector<std::string>{"pruning: 0.weight has fewer channels than a block: its blocks are smaller",
                                 "pruning: 9.weight is all zero before it is pruned",
                                 "pruning: nothing is left of 0.weight",
                                 "pruning: nothing is left of 9.weight"});
}

TEST_CASE("a layer smaller than a block is pruned in the blocks it has") {
  auto net = conv_net();
  auto sgd = make_optimizer("sgd", net);
  GradualPruningOptions options;
  options.window = {0, 1}, options.final_sparsity = 0.5, options.mask_type = "block4";
  options.params = {"0.weight"};  // 16 x 3 x 3 x 3: a block for each filter and tap
  Recipe recipe;
  recipe.add<MagnitudePruning>(options);
  Session session(recipe, *net, *sgd, 4);
  train(session, net, *sgd, 4);
  session.finish();
  const auto zeros = weight_of(net, "0.weight").detach().eq(0).sum(1);
  CHECK(zeros.eq(0).logical_or(zeros.eq(3)).all().item<bool>());
  CHECK(zeros.eq(3).sum().item<int64_t>() == 16 * 9 / 2);
}

TEST_CASE("weights that are infinite, not a number or all zero are pruned by rule, never by accident") {
  const float infinity = std::numeric_limits<float>::infinity();
  OneWeight one(torch::tensor({{NAN, 1.F, -infinity, 2.F, 0.F, 0.F, 0.5F, 0.F}}));
  const double final_sparsity = GENERATE(0.0, 0.25, 0.5, 1.0);
  GradualPruningOptions options;
  options.window = {0, 1}, options.init_sparsity = final_sparsity, options.final_sparsity = final_sparsity;
  Recipe recipe;
  recipe.add<MagnitudePruning>(options);
  Session session(recipe, *one.net, one.sgd, 1);
  session.begin_step();
  const auto mask = session.masks().find("weight");
  CHECK(mask.logical_not().sum().item<int64_t>() == std::llround(8 * final_sparsity));
  REQUIRE(session.state().notes.size() == 1);
  CHECK(session.state().notes[0] ==
        "pruning: 2 values of weight are not finite: they count as the largest and stay");
  if (final_sparsity == 0.5)
    CHECK(torch::equal(mask, torch::tensor({{true, true, true, true, false, false, false, false}})));
}
