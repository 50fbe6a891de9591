// SPDX-License-Identifier: Apache-2.0
#include <torch/torch.h>

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <set>

#include "sparsify/modifiers.hpp"
#include "training.hpp"

using namespace sparsify;
using namespace sparsify::test;
using Catch::Approx;
using Catch::Matchers::ContainsSubstring;

namespace {

at::Tensor weight_of(torch::nn::Sequential& net, const std::string& name) {
  return net->named_parameters()[name];
}

double accuracy(torch::nn::Sequential& net) {
  torch::NoGradGuard no_grad;
  torch::manual_seed(77);
  const auto [images, labels] = batch(200);
  net->eval();
  const auto correct = net->forward(images).argmax(1).eq(labels).to(torch::kDouble).mean().item<double>();
  net->train();
  return correct;
}

std::int64_t zeros_of(torch::nn::Sequential& net, std::int64_t* total = nullptr) {
  std::int64_t zeros = 0;
  for (const auto& parameter : net->named_parameters())
    if (parameter.value().dim() >= 2) {
      zeros += parameter.value().eq(0).sum().item<int64_t>();
      if (total) *total += parameter.value().numel();
    }
  return zeros;
}

// One weight matrix, and a loss whose gradient is chosen: sum(weight * gradient).
struct OneWeight {
  explicit OneWeight(const at::Tensor& start, double learning_rate = 0.1)
      : net(torch::nn::LinearOptions(start.size(1), start.size(0)).bias(false)),
        sgd(net->parameters(), torch::optim::SGDOptions(learning_rate)) {
    torch::NoGradGuard no_grad;
    net->weight.copy_(start);
  }
  void step(Session& session, const at::Tensor& gradient) {
    auto step = session.begin_step();
    sgd.zero_grad();
    step.loss((net->weight * gradient).sum()).backward();
    step.optimize();
  }
  at::Tensor weight() const { return net->weight.detach(); }
  torch::nn::Linear net;
  torch::optim::SGD sgd;
};

}  // namespace

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

TEST_CASE("N:M that cannot be, is said when the recipe is bound") {
  auto net = conv_net();
  auto sgd = make_optimizer("sgd", net);
  GradualPruningOptions options;
  options.window = {0, 2}, options.final_sparsity = 0.5, options.mask_type = "2:4";
  Recipe narrow;
  narrow.add<MagnitudePruning>(options);
  CHECK_THROWS_WITH(Session(narrow, *net, *sgd, 7),
                    ContainsSubstring("0.weight: 3 input channels are not a multiple of 4; exclude it"));
  options.params = {"3.weight"}, options.final_sparsity = 0.8;
  Recipe much;
  much.add<MagnitudePruning>(options);
  CHECK_THROWS_WITH(Session(much, *net, *sgd, 7), ContainsSubstring("final_sparsity: expected 0.500"));
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

TEST_CASE("ACDC: dense and compressed phases alternate, the last is compressed and stays") {
  auto net = conv_net();
  auto sgd = make_optimizer("sgd", net);
  ACDCPruning::Options options;
  options.window = {1, 6}, options.update_frequency = 1, options.compression_sparsity = 0.75;
  Recipe recipe;
  recipe.add<ACDCPruning>(options);
  Session session(recipe, *net, *sgd, 4);
  std::string phases;
  at::Tensor momentum_at_restart;
  train(session, net, *sgd, 28, [&] {
    const bool sparse = session.masks().find("3.weight").defined();
    phases += sparse ? 's' : 'd';
    if (!sparse) return;
    std::int64_t total = 0;
    const auto zeros = zeros_of(net, &total);
    CHECK(zeros == std::llround(0.75 * double(total)));
  });
  CHECK(phases ==
        "dddddddd"
        "ssss"
        "dddd"
        "ssss"
        "ssss"
        "ssss");  // the fifth phase is the last
  session.finish();

  options.global_sparsity = false, options.window = {0, 2};
  Recipe each;
  each.add<ACDCPruning>(options);
  net = conv_net(), sgd = make_optimizer("sgd", net);
  Session second(each, *net, *sgd, 3);
  train(second, net, *sgd, 6);
  for (const auto* name : {"0.weight", "3.weight", "6.weight", "9.weight"})
    CHECK(sparsity(weight_of(net, name)) == 0.75);

  options.window = {0, 0.9};
  Recipe short_one;
  short_one.add<ACDCPruning>(options);
  CHECK_THROWS_WITH(Session(short_one, *net, *sgd, 10), ContainsSubstring("room for one phase only"));
}

TEST_CASE("ACDC: momentum is forgotten when a dense phase begins, unless asked to keep it") {
  const bool reset = GENERATE(true, false);
  OneWeight one(torch::tensor({{4.F, 3.F, 2.F, 1.F}}));
  torch::optim::SGD sgd(one.net->parameters(), torch::optim::SGDOptions(0.1).momentum(0.5));
  ACDCPruning::Options options;
  options.window = {0, 4}, options.compression_sparsity = 0.5, options.momentum_buffer_reset = reset;
  Recipe recipe;
  recipe.add<ACDCPruning>(options);
  Session session(recipe, *one.net, sgd, 1);
  const auto step = [&](float gradient) {
    auto now = session.begin_step();
    sgd.zero_grad();
    now.loss((one.net->weight * gradient).sum()).backward();
    now.optimize();
  };
  step(1), step(1);  // dense, compressed: momentum 1, then 1.5 where a weight remains
  step(0);           // dense: 0.75 unless forgotten
  const auto expected = reset ? torch::zeros({1, 4}) : torch::tensor({{0.75F, 0.75F, 0.F, 0.F}});
  CHECK(torch::allclose(momentum_of(sgd, one.net->weight), expected));
}

TEST_CASE("movement pruning scores by -gradient * weight, and what comes back has its value") {
  // The first weight shrinks towards zero although it is the largest; the last grows.
  OneWeight one(torch::tensor({{8.F, 2.F, 3.F, 1.F}}), 0.01);
  GradualPruningOptions options;
  options.window = {0, 5}, options.update_frequency = 1, options.init_sparsity = 0.5,
  options.final_sparsity = 0.5;
  Recipe recipe;
  recipe.add<MovementPruning>(options);
  Session session(recipe, *one.net, one.sgd, 1);
  const auto shrink = torch::tensor({{10.F, -1.F, 1.F, -10.F}});
  one.step(session, shrink);
  CHECK(one.weight().ne(0).all().item<bool>());  // no score before the first gradient
  one.step(session, shrink);
  // scores: -80, 2, -3, 10 -> the first and the third go
  CHECK(torch::equal(session.masks().find("weight"), torch::tensor({{false, true, false, true}})));
  const auto pruned_value = 8.F - 0.01F * 10;
  // The first now wants to grow: scored with the value it had.
  one.step(session, torch::tensor({{-100.F, 1.F, 0.F, 0.F}}));
  one.step(session, torch::zeros({1, 4}));
  CHECK(session.masks().find("weight")[0][0].item<bool>());
  CHECK(one.weight()[0][0].item<float>() == Approx(pruned_value));
  one.step(session, torch::zeros({1, 4}));
  session.finish();
  CHECK(one.weight().eq(0).sum().item<int64_t>() == 2);
}

TEST_CASE("Erdos-Renyi spreads: exact numbers, and the total whatever is capped") {
  const std::vector<at::Tensor> weights = {torch::zeros({10, 10}), torch::zeros({20, 10, 3, 3})};
  const auto uniform = spread_sparsity(Spread::kUniform, weights, 0.7);
  CHECK(uniform == std::vector<double>{0.7, 0.7});
  // densities in proportion to 20/100 and 36/1800; 0.3 * 1900 = 570 weights stay: 20 e + 36 e = 570 would
  // make the first denser than dense, so it has 100 and the second 470.
  const auto kernel = spread_sparsity(Spread::kErdosRenyiKernel, weights, 0.7);
  CHECK(kernel[0] == 0);
  CHECK(kernel[1] == Approx(1 - 470.0 / 1800));
  // 20/100 and 30/200 at sparsity 0.95: 95 = e (20 + 270), densities 0.2 e and 0.15 e.
  const auto plain = spread_sparsity(Spread::kErdosRenyi, weights, 0.95);
  CHECK(plain[0] == Approx(1 - 0.2 * 95 / 290));
  CHECK(plain[1] == Approx(1 - 0.15 * 95 / 290));
  for (const auto spread : {Spread::kErdosRenyi, Spread::kErdosRenyiKernel})
    for (const double sparsity : {0.0, 0.3, 0.9, 1.0}) {
      const auto each = spread_sparsity(spread, weights, sparsity);
      CHECK(each[0] * 100 + each[1] * 1800 == Approx(sparsity * 1900).margin(1e-9));
    }
}

TEST_CASE("RigL drops the smallest and grows where the gradient is largest, from zero") {
  OneWeight one(torch::tensor({{8.F, 7.F, 6.F, 5.F, 0.4F, 0.3F, 0.2F, 0.1F}}), 1e-6);
  RigLPruning::Options options;
  options.window = {0, 100}, options.update_frequency = 1, options.final_sparsity = 0.5,
  options.init_update_fraction = 0.5, options.sparsity_strategy = "uniform";
  Recipe recipe;
  recipe.add<RigLPruning>(options);
  Session session(recipe, *one.net, one.sgd, 1);
  const auto gradient = torch::tensor({{0.F, 0.F, 0.F, 0.F, 1.F, -9.F, 3.F, 8.F}});
  one.step(session, gradient);
  CHECK(torch::equal(session.masks().find("weight")[0],
                     torch::tensor({true, true, true, true, false, false, false, false})));
  one.step(session, gradient);  // half of four: 6 and 5 make way for -9 and 8
  CHECK(torch::equal(session.masks().find("weight")[0],
                     torch::tensor({true, true, false, false, false, true, false, true})));
  CHECK(one.weight()[0][5].item<float>() == Approx(9e-6));
  one.step(session, torch::zeros({1, 8}));
  CHECK(session.masks().find("weight").sum().item<int64_t>() == 4);
}

TEST_CASE("RigL averages the gradients of the last num_grads steps, and saves them") {
  OneWeight one(torch::tensor({{8.F, 7.F, 0.2F, 0.1F}}), 1e-6);
  RigLPruning::Options options;
  options.window = {0, 100}, options.update_frequency = 4, options.num_grads = 2,
  options.final_sparsity = 0.5, options.init_update_fraction = 0.5, options.sparsity_strategy = "uniform";
  Recipe recipe;
  recipe.add<RigLPruning>(options);
  Session session(recipe, *one.net, one.sgd, 1);
  const auto at_third = torch::tensor({{0.F, 0.F, 5.F, 0.F}}),
             at_last = torch::tensor({{0.F, 0.F, 0.F, 4.F}});
  one.step(session, at_third);  // too early to count
  one.step(session, at_third);
  one.step(session, at_third);
  one.step(session, at_last);
  CHECK(session.state_dict().count("modifiers.0.gradients.weight") == 1);
  one.step(session, at_last);
  CHECK(session.masks().find("weight")[0][3].item<bool>());
  CHECK_FALSE(session.masks().find("weight")[0][2].item<bool>());
}

TEST_CASE("Top-KAST: forward uses the largest, the optimizer moves more, the rest stays") {
  OneWeight one(torch::tensor({{4.F, 3.F, 2.F, 1.F}}), 0.1);
  TopKASTPruning::Options options;
  options.window = {0, 4}, options.update_frequency = 2, options.forward_sparsity = 0.5,
  options.backward_sparsity = 0.25, options.active_weight_decay = 0.1;
  Recipe recipe;
  recipe.add<TopKASTPruning>(options);
  Session session(recipe, *one.net, one.sgd, 1);
  const auto gradient = torch::tensor({{1.F, 1.F, -20.F, -20.F}});
  one.step(session, gradient);
  CHECK(one.weight()[0][2].item<float>() == 0);  // moved, not in use
  CHECK(one.weight()[0][0].item<float>() == Approx(4 - 0.1 * (1 + 0.1 * 4)));
  one.step(session, gradient);
  session.begin_step();  // an update: the third has grown past the second
  // third: 2 + 0.1 * (20 - 0.2 * 2), twice, the decay divided by the share in use
  const double once = 2 + 0.1 * (20 - 0.2 * 2), twice = once + 0.1 * (20 - 0.2 * once);
  CHECK(one.weight()[0][2].item<float>() == Approx(twice));
  CHECK(one.weight()[0][1].item<float>() == 0);
  CHECK(one.weight()[0][3].item<float>() == 0);
  one.step(session, torch::zeros({1, 4}));
  one.step(session, torch::zeros({1, 4}));
  CHECK_NOTHROW(session.finish());
  CHECK(session.masks().find("weight").sum().item<int64_t>() == 2);
  CHECK_THROWS_WITH(
      [&] {
        options.backward_sparsity = 0.6;
        Recipe().add<TopKASTPruning>(options);
      }(),
      ContainsSubstring("must not be above forward_sparsity"));
}

TEST_CASE("powerpropagation: one step by hand, zeros stay") {
  OneWeight one(torch::tensor({{4.F, -9.F, 0.F, 1.F}}), 0.1);
  Recipe recipe;
  recipe.add<Powerpropagation>({.window = {0, 2}, .alpha = 2});
  Session session(recipe, *one.net, one.sgd, 1);
  one.step(session, torch::tensor({{1.F, 2.F, 3.F, -1.F}}));
  // theta = 2, -3, 0, 1; its gradient = 2 |theta| * gradient = 4, 12, 0, -2
  const auto theta = torch::tensor({{2 - 0.4F, -3 - 1.2F, 0.F, 1 + 0.2F}});
  CHECK(torch::allclose(one.weight(), theta * theta.abs()));
  one.step(session, torch::zeros({1, 4}));
  CHECK(torch::allclose(one.weight(), theta * theta.abs()));
  one.step(session, torch::ones({1, 4}));  // after the window: an ordinary step
  CHECK(torch::allclose(one.weight(), theta * theta.abs() - 0.1));
}

namespace {

struct OpenOBS : OBSPruning {
  using OBSPruning::add_gradient, OBSPruning::compensation, OBSPruning::inverse_diagonal,
      OBSPruning::OBSPruning;
};
struct OpenMFAC : MFACPruning {
  using MFACPruning::add_gradient, MFACPruning::compensation, MFACPruning::inverse_diagonal,
      MFACPruning::MFACPruning;
};

// F = damp I + G'G / m, written down.
at::Tensor fisher_of(const at::Tensor& gradients, double damp) {
  const auto g = gradients.to(torch::kDouble);
  return torch::eye(g.size(1), torch::kDouble) * damp + g.t().mm(g) / double(g.size(0));
}

}  // namespace

TEST_CASE("OBS: scores and compensation equal the textbook's formulas, block by block") {
  torch::manual_seed(31);
  OBSPruning::Options options;
  options.window = {0, 1}, options.final_sparsity = 0.5, options.damp = 1e-3, options.fisher_block_size = 4;
  OpenOBS obs(options);
  const Parameter weight{"w.weight", torch::randn({2, 5})};  // ten weights: blocks of 4, 4 and 2
  const auto gradients = torch::randn({6, 10});
  for (int64_t i = 0; i < 6; ++i) obs.add_gradient(weight, gradients[i]);
  const auto kept = torch::tensor({1, 0, 1, 1, 0, 0, 1, 1, 1, 0}).to(torch::kBool);
  const auto diagonal = obs.inverse_diagonal(weight, {});
  const auto change = obs.compensation(weight, kept);
  const auto flat = weight.tensor.reshape(-1).to(torch::kDouble);
  for (const auto& [first, size] : std::vector<std::pair<int64_t, int64_t>>{{0, 4}, {4, 4}, {8, 2}}) {
    const auto part = [&, first = first, size = size](const at::Tensor& t) {
      return t.slice(-1, first, first + size);
    };
    const auto inverse = fisher_of(part(gradients), 1e-3).inverse();
    CHECK(torch::allclose(part(diagonal).to(torch::kDouble), inverse.diagonal(), 1e-3));
    // delta = -F^-1[:, Q] (F^-1[Q, Q])^-1 w_Q
    const auto q = part(kept).logical_not().nonzero().squeeze(1);
    const auto columns = inverse.index_select(1, q);
    const auto delta =
        -columns.mm(columns.index_select(0, q).inverse().mm(part(flat).index_select(0, q).unsqueeze(1)));
    CHECK(torch::allclose(part(change).to(torch::kDouble), delta.squeeze(1) * part(kept), 1e-3, 1e-4));
  }
}

TEST_CASE("M-FAC: Woodbury's identity equals the inverse written down") {
  torch::manual_seed(32);
  MFACPruning::Options options;
  options.window = {0, 1}, options.final_sparsity = 0.5, options.damp = 1e-2;
  OpenMFAC mfac(options);
  const Parameter weight{"w.weight", torch::randn({3, 4})};
  const auto gradients = torch::randn({5, 12});
  for (int64_t i = 0; i < 5; ++i) mfac.add_gradient(weight, gradients[i]);
  const auto inverse = fisher_of(gradients, 1e-2).inverse();
  CHECK(torch::allclose(mfac.inverse_diagonal(weight, {}).to(torch::kDouble), inverse.diagonal(), 1e-3));
  const auto kept = torch::rand({12}) > 0.5;
  const auto removed = weight.tensor.reshape(-1).to(torch::kDouble) / inverse.diagonal() * kept.logical_not();
  const auto expected = -inverse.mv(removed) * kept;
  CHECK(torch::allclose(mfac.compensation(weight, kept).to(torch::kDouble), expected, 1e-3, 1e-4));
}

TEST_CASE("second-order pruning prefers what matters least, not what is smallest") {
  // The first weight is large but the loss does not depend on it; the last is small and matters.
  const auto method = GENERATE("OBS", "MFAC");
  OneWeight one(torch::tensor({{5.F, 4.F, 3.F, 0.5F}}), 1e-9);
  Recipe recipe;
  if (method == std::string("OBS")) {
    OBSPruning::Options options;
    options.window = {4, 6}, options.init_sparsity = 0.25, options.final_sparsity = 0.25,
    options.num_grads = 4, options.damp = 1e-4;
    recipe.add<OBSPruning>(options);
  } else {
    MFACPruning::Options options;
    options.window = {4, 6}, options.init_sparsity = 0.25, options.final_sparsity = 0.25,
    options.num_grads = 4, options.damp = 1e-4;
    recipe.add<MFACPruning>(options);
  }
  Session session(recipe, *one.net, one.sgd, 1);
  torch::manual_seed(33);
  for (int i = 0; i < 6; ++i)
    one.step(session, torch::randn({1, 4}) * torch::tensor({{0.F, 1.F, 1.F, 50.F}}));
  session.finish();
  CHECK(torch::equal(one.weight().eq(0), torch::tensor({{true, false, false, false}})));
}

TEST_CASE("layer pruning: a residual branch adds nothing, biases included, and may come back") {
  auto net = conv_net();
  auto sgd = make_optimizer("sgd", net);
  Recipe recipe;
  recipe.add<LayerPruning>({.window = {1, 2}, .layers = {"3", "4"}});
  Session session(recipe, *net, *sgd, 3);
  at::Tensor before;
  train(session, net, *sgd, 6, [&] {
    const bool removed = session.state().step > 3;
    if (!removed) before = weight_of(net, "3.weight").clone();
    for (const auto* name : {"3.weight", "3.bias", "4.weight", "4.bias"})
      CHECK(weight_of(net, name).eq(0).all().item<bool>() == removed);
    CHECK(weight_of(net, "6.weight").ne(0).any().item<bool>());
  });
  session.finish();
  session.begin_step();
  CHECK_FALSE(session.masks().find("3.weight").defined());
  CHECK(torch::equal(weight_of(net, "3.weight"), before));
  Recipe wrong;
  wrong.add<LayerPruning>({.layers = {"layer9"}});
  CHECK_THROWS_WITH(Session(wrong, *net, *sgd, 3),
                    ContainsSubstring("'layer9' is no module with parameters"));
}

TEST_CASE("activation regularisation adds the mean activity of the chosen layers to the loss") {
  auto net = conv_net();
  auto sgd = make_optimizer("sgd", net);
  const auto function = GENERATE("l1", "l2", "relu", "hs");
  const bool normalized = GENERATE(true, false);
  Recipe recipe;
  recipe.add<ASReg>({.alpha = 0.5,
                     .layers = {"3.weight", "9.weight"},
                     .layer_normalized = normalized,
                     .reg_func = function,
                     .reg_tens = "inp"});
  Session session(recipe, *net, *sgd, 3);
  train(session, net, *sgd, 1);
  const auto [images, labels] = batch(8);
  auto step = session.begin_step();
  step.forward([&, images = images] { return net->forward(images); });
  const auto added = step.loss(torch::zeros({})).item<float>();
  // The same by hand, batch norms in training mode.
  auto hidden = images;
  std::vector<at::Tensor> inputs;
  std::size_t index = 0;
  for (auto& module : *net) {
    if (index == 3 || index == 9) inputs.push_back(hidden);
    hidden = module.forward(hidden);
    ++index;
  }
  double expected = 0;
  for (const auto& x : inputs) {
    const std::string f = function;
    if (f == "l1") expected += x.abs().mean().item<double>();
    if (f == "l2") expected += x.square().mean().item<double>();
    if (f == "relu") expected += x.relu().mean().item<double>();
    if (f == "hs") expected += (x.abs().sum().square() / x.square().sum()).item<double>() / double(x.numel());
  }
  CHECK(added == Approx(0.5 * expected / (normalized ? 2 : 1)).epsilon(1e-4));
}

TEST_CASE("activation regularisation makes activations sparser than training without it") {
  const auto activity = [](double alpha) {
    auto net = conv_net();
    auto sgd = make_optimizer("sgd", net);
    Recipe recipe;
    recipe.add<ASReg>({.alpha = alpha, .layers = {"6.weight"}});
    Session session(recipe, *net, *sgd, 5);
    torch::manual_seed(3);
    train(session, net, *sgd, 60);
    session.finish();
    torch::NoGradGuard no_grad;
    auto hidden = batch(64).first;
    for (std::size_t i = 0; i < 6; ++i) hidden = net->begin()[static_cast<std::ptrdiff_t>(i)].forward(hidden);
    return hidden.abs().mean().item<double>();
  };
  CHECK(activity(5) < 0.5 * activity(0));
}

TEST_CASE("every method trains a small network to its sparsity, and the network still works") {
  const std::string method = GENERATE("magnitude", "global", "acdc", "movement", "rigl", "topkast", "obs",
                                      "mfac", "powerpropagation");
  INFO(method);
  auto net = conv_net();
  auto sgd = make_optimizer("sgd", net);
  const Window window{0.5, 4};
  GradualPruningOptions gradual;
  gradual.window = window, gradual.update_frequency = 0.25, gradual.final_sparsity = 0.8;
  Recipe recipe;
  if (method == "magnitude") recipe.add<MagnitudePruning>(gradual);
  if (method == "global") recipe.add<GlobalMagnitudePruning>(gradual);
  if (method == "acdc")
    recipe.add<ACDCPruning>({.window = window, .update_frequency = 0.5, .compression_sparsity = 0.8});
  if (method == "movement") recipe.add<MovementPruning>(gradual);
  if (method == "rigl") recipe.add<RigLPruning>({.window = window, .final_sparsity = 0.8});
  if (method == "topkast")
    recipe.add<TopKASTPruning>({.window = window, .forward_sparsity = 0.8, .backward_sparsity = 0.5});
  if (method == "obs") {
    OBSPruning::Options options;
    static_cast<GradualPruningOptions&>(options) = gradual;
    options.num_grads = 8, options.damp = 1e-4, options.fisher_block_size = 10;
    recipe.add<OBSPruning>(options);
  }
  if (method == "mfac") {
    MFACPruning::Options options;
    static_cast<GradualPruningOptions&>(options) = gradual;
    options.num_grads = 8, options.damp = 1e-3;
    recipe.add<MFACPruning>(options);
  }
  if (method == "powerpropagation") {
    recipe.add<Powerpropagation>({.window = {0, 4}, .alpha = 1.5});
    recipe.add<MagnitudePruning>(gradual);
  }
  Session session(recipe, *net, *sgd, 20);
  torch::manual_seed(5);
  train(session, net, *sgd, 120);
  session.finish();
  std::int64_t total = 0;
  const auto zeros = zeros_of(net, &total);
  CHECK(double(zeros) / double(total) == Approx(0.8).margin(0.001));
  CHECK(accuracy(net) > 0.8);  // four classes: chance is 0.25
}

TEST_CASE("methods with a state of their own go on after a resume as if nothing had happened") {
  const std::string method = GENERATE("movement", "rigl", "topkast", "obs", "mfac");
  INFO(method);
  GradualPruningOptions gradual;
  gradual.window = {0, 2}, gradual.update_frequency = 0.5, gradual.final_sparsity = 0.8;
  Recipe recipe;
  if (method == "movement") recipe.add<MovementPruning>(gradual);
  if (method == "rigl")
    recipe.add<RigLPruning>(
        {.window = {0, 2}, .update_frequency = 0.5, .final_sparsity = 0.8, .num_grads = 3});
  if (method == "topkast")
    recipe.add<TopKASTPruning>(
        {.window = {0, 2}, .update_frequency = 0.5, .forward_sparsity = 0.8, .backward_sparsity = 0.5});
  if (method == "obs") {
    OBSPruning::Options options;
    static_cast<GradualPruningOptions&>(options) = gradual;
    options.num_grads = 3, options.damp = 1e-3, options.fisher_block_size = 8;
    recipe.add<OBSPruning>(options);
  }
  if (method == "mfac") {
    MFACPruning::Options options;
    static_cast<GradualPruningOptions&>(options) = gradual;
    options.num_grads = 3, options.damp = 1e-3;
    recipe.add<MFACPruning>(options);
  }
  const auto run = [&](int interruption) {
    auto net = conv_net();
    auto sgd = make_optimizer("plain sgd", net);
    auto session = std::make_unique<Session>(recipe, *net, *sgd, 6);
    torch::manual_seed(9);
    train(*session, net, *sgd, interruption);
    if (interruption < 12) {
      std::stringstream weights;
      torch::serialize::OutputArchive out;
      net->save(out), out.save_to(weights);
      const auto saved = session->state_dict();
      net = conv_net(), sgd = make_optimizer("plain sgd", net);
      torch::serialize::InputArchive in;
      in.load_from(weights), net->load(in);
      session = std::make_unique<Session>(recipe, *net, *sgd, 6);
      session->load_state_dict(saved);
      torch::manual_seed(9);
      for (int i = 0; i < interruption; ++i) batch(16);
      train(*session, net, *sgd, 12 - interruption);
    }
    session->finish();
    return weight_of(net, "3.weight").clone();
  };
  const auto whole = run(12);
  for (const int interruption : {1, 5, 8}) CHECK(torch::equal(run(interruption), whole));
}
