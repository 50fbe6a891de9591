// SPDX-License-Identifier: Apache-2.0
#include <torch/torch.h>

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "sparsify/modifiers.hpp"
#include "training.hpp"

using namespace sparsify;
using namespace sparsify::test;
using Catch::Approx;
using Catch::Matchers::ContainsSubstring;

namespace {

std::int64_t zeros_of(torch::nn::Sequential& net, std::int64_t* total = nullptr) {
  std::int64_t zeros = 0;
  for (const auto& parameter : net->named_parameters())
    if (parameter.value().dim() >= 2) {
      zeros += parameter.value().eq(0).sum().item<int64_t>();
      if (total) *total += parameter.value().numel();
    }
  return zeros;
}

}  // namespace

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

TEST_CASE("ACDC: the last phase is compressed however phases fall on steps") {
  const auto phases_of = [](const Window& window, double length, std::int64_t steps) {
    OneWeight one(torch::tensor({{4.F, 3.F, 2.F, 1.F}}));
    ACDCPruning::Options options;
    options.window = window, options.update_frequency = length, options.compression_sparsity = 0.5;
    Recipe recipe;
    recipe.add<ACDCPruning>(options);
    Session session(recipe, *one.net, one.sgd, steps);
    std::string phases;
    for (std::int64_t i = 0; i < steps; ++i) {
      one.step(session, torch::zeros({1, 4}));
      phases += session.masks().empty() ? 'd' : 's';
    }
    session.finish();
    return phases;
  };
  // Five phases of 3.12 steps in a window that is 16 steps long, and begins at step 1.
  CHECK(phases_of({0.05, 0.7}, 0.13, 24) ==
        "dddd"
        "sss"
        "ddd"
        "sss"
        "ssss"
        "sssssss");
  // What is left of a fourth phase has no step.
  CHECK(phases_of({0, 1}, 0.33, 10) ==
        "ddd"
        "ssss"
        "sss");
  CHECK(phases_of({0, 1}, 0.001, 4) == "dsds");
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
  // Before the first gradient, magnitudes: init_sparsity is in force in the first step.
  CHECK(torch::allclose(one.weight(), torch::tensor({{7.9F, 0.F, 2.99F, 0.F}})));
  one.step(session, shrink);
  // scores: -80, 2, -3, 10 -> the first and the third go, the others come back and take their step
  CHECK(torch::equal(session.masks().find("weight"), torch::tensor({{false, true, false, true}})));
  CHECK(torch::allclose(one.weight(), torch::tensor({{0.F, 2.01F, 0.F, 1.1F}})));
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

TEST_CASE("RigL exchanges a share that falls along half a cosine") {
  OneWeight one(torch::linspace(1, 2, 32).reshape({1, 32}), 1e-6);
  RigLPruning::Options options;
  options.window = {0, 101}, options.update_frequency = 25, options.final_sparsity = 0.5,
  options.init_update_fraction = 0.75, options.sparsity_strategy = "uniform";
  Recipe recipe;
  recipe.add<RigLPruning>(options);
  Session session(recipe, *one.net, one.sgd, 1);
  one.step(session, torch::zeros({1, 32}));
  std::vector<std::int64_t> exchanged;
  for (int i = 1; i <= 100; ++i) {
    const auto before = session.masks().find("weight").clone();
    one.step(session, before.logical_not().to(torch::kFloat));
    const auto left = before.logical_and(session.masks().find("weight").logical_not());
    if (i % 25 == 0)
      exchanged.push_back(left.sum().item<int64_t>());
    else
      CHECK_FALSE(left.any().item<bool>());
  }
  // 0.75 of 16 times (1 + cos) / 2 after a quarter, a half, three quarters and all of the window.
  CHECK(exchanged == std::vector<std::int64_t>{10, 6, 2, 0});
}

TEST_CASE("RigL averages the gradients of the last num_grads steps, and saves them") {
  OneWeight one(torch::tensor({{8.F, 7.F, 0.2F, 0.1F}}), 1e-6);
  RigLPruning::Options options;
  options.window = {0, 100}, options.update_frequency = 4, options.num_grads = 2,
  options.final_sparsity = 0.5, options.init_update_fraction = 0.5, options.sparsity_strategy = "uniform";
  Recipe recipe;
  recipe.add<RigLPruning>(options);
  Session session(recipe, *one.net, one.sgd, 1);
  const auto at_third = torch::tensor({{0.F, 0.F, 9.F, 0.F}}),
             at_last = torch::tensor({{0.F, 0.F, 0.F, 4.F}});
  one.step(session, at_third);  // too early to count, and so are the next two
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

TEST_CASE("layer pruning: a residual branch adds nothing, biases included, and may come back") {
  auto net = conv_net();
  auto sgd = make_optimizer("sgd", net);
  Recipe recipe;
  recipe.add<LayerPruning>({.window = {1, 2}, .layers = {"3", "4"}});
  Session session(recipe, *net, *sgd, 3);
  at::Tensor before, statistics;
  train(session, net, *sgd, 6, [&] {
    const bool removed = session.state().step > 3;
    if (!removed) before = weight_of(net, "3.weight").clone();
    if (!removed) statistics = net->named_buffers()["4.running_var"].clone();
    for (const auto* name : {"3.weight", "3.bias", "4.weight", "4.bias"})
      CHECK(weight_of(net, name).eq(0).all().item<bool>() == removed);
    CHECK(weight_of(net, "6.weight").ne(0).any().item<bool>());
  });
  session.finish();
  {
    const torch::NoGradGuard no_grad;
    weight_of(net, "3.weight").add_(1);
    CHECK_THROWS_WITH(session.finish(), ContainsSubstring("3.weight is not zero at the end"));
  }
  session.begin_step();
  CHECK_FALSE(session.masks().find("3.weight").defined());
  CHECK(torch::equal(weight_of(net, "3.weight"), before));
  CHECK(torch::equal(net->named_buffers()["4.running_var"], statistics));
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

TEST_CASE("activation regularisation that ended before a resume is no error, one that saw no layer is") {
  auto net = conv_net();
  auto sgd = make_optimizer("sgd", net);
  Recipe recipe;
  recipe.add<ASReg>({.window = {0, 1}, .layers = {"6.weight"}});
  Session before(recipe, *net, *sgd, 3);
  train(before, net, *sgd, 4);
  Session session(recipe, *net, *sgd, 3);
  session.load_state_dict(before.state_dict());
  train(session, net, *sgd, 2);
  CHECK_NOTHROW(session.finish());
  Session blind(recipe, *net, *sgd, 3);
  for (int i = 0; i < 3; ++i) {
    auto step = blind.begin_step();
    step.forward([] { return torch::ones({1}); });
    step.optimize();
  }
  CHECK_THROWS_WITH(blind.finish(), ContainsSubstring("no forward pass used one"));
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

namespace {

Recipe recipe_of(const std::string& method, const Window& window, double update_frequency,
                 std::int64_t num_grads, const std::vector<std::string>& exclude = {},
                 double sparsity = 0.8) {
  GradualPruningOptions gradual;
  gradual.window = window, gradual.update_frequency = update_frequency, gradual.final_sparsity = sparsity,
  gradual.exclude = exclude;
  const auto second_order = [&](auto options, double damp) {
    static_cast<GradualPruningOptions&>(options) = gradual;
    options.num_grads = num_grads, options.damp = damp;
    return options;
  };
  Recipe recipe;
  if (method == "magnitude") recipe.add<MagnitudePruning>(gradual);
  if (method == "global") recipe.add<GlobalMagnitudePruning>(gradual);
  if (method == "acdc")
    recipe.add<ACDCPruning>(
        {.window = window, .update_frequency = 2 * update_frequency, .compression_sparsity = sparsity});
  if (method == "movement") recipe.add<MovementPruning>(gradual);
  if (method == "rigl")
    recipe.add<RigLPruning>({.window = window,
                             .update_frequency = update_frequency,
                             .final_sparsity = sparsity,
                             .num_grads = num_grads,
                             .exclude = exclude});
  if (method == "topkast")
    recipe.add<TopKASTPruning>({.window = window,
                                .update_frequency = update_frequency,
                                .forward_sparsity = sparsity,
                                .backward_sparsity = sparsity / 2,
                                .exclude = exclude});
  if (method == "obs") {
    auto options = second_order(OBSPruning::Options(), 1e-4);
    options.fisher_block_size = 10;
    recipe.add<OBSPruning>(options);
  }
  if (method == "mfac") recipe.add<MFACPruning>(second_order(MFACPruning::Options(), 1e-3));
  if (method == "powerpropagation") {
    recipe.add<Powerpropagation>({.window = {0, window.end_epoch}, .alpha = 1.5});
    recipe.add<MagnitudePruning>(gradual);
  }
  return recipe;
}

}  // namespace

TEST_CASE("methods that keep values or gradients are refused beside what would change their meaning") {
  auto net = conv_net();
  auto sgd = make_optimizer("sgd", net);
  const std::string method = GENERATE("movement", "rigl", "topkast", "obs", "mfac");
  INFO(method);
  auto powers = recipe_of(method, {0, 2}, 0.5, 3);
  powers.add<Powerpropagation>({.window = {0, 2}});
  CHECK_THROWS_WITH(Session(powers, *net, *sgd, 6),
                    ContainsSubstring("changes what the optimizer sees of 0.weight, which"));
  auto moved = recipe_of(method, {0, 2}, 0.5, 3, {"9.weight"});
  moved.add<NMPruning>({.start_epoch = 1, .params = {"9.weight"}, .permute = true});
  CHECK_THROWS_WITH(Session(moved, *net, *sgd, 6), ContainsSubstring("changes the order of channels, which"));
}

TEST_CASE("powerpropagation puts weights back after a step that failed") {
  OneWeight one(torch::tensor({{4.F, -9.F, 0.F, 1.F}}));
  Recipe recipe;
  recipe.add<Powerpropagation>({.window = {0, 3}, .alpha = 2});
  Session session(recipe, *one.net, one.sgd, 1);
  auto step = session.begin_step();
  step.loss(one.net->weight.sum()).backward();
  CHECK_THROWS(step.optimize([] { throw std::runtime_error("out of memory"); }));
  session.begin_step();
  CHECK(torch::allclose(one.weight(), torch::tensor({{4.F, -9.F, 0.F, 1.F}})));
}

TEST_CASE("every method trains a small network to its sparsity, and the network still works") {
  const std::string method = GENERATE("magnitude", "global", "acdc", "movement", "rigl", "topkast", "obs",
                                      "mfac", "powerpropagation");
  INFO(method);
  auto net = conv_net();
  auto sgd = make_optimizer("sgd", net);
  Session session(recipe_of(method, {0.5, 4}, 0.25, 8), *net, *sgd, 20);
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
  const auto recipe = recipe_of(method, {0, 2}, 0.5, 3);
  const auto whole = trained_with_interruption(recipe, 12, 12);
  for (const int interruption : {1, 5, 8}) {
    INFO("interrupted after step " << interruption);
    CHECK(torch::equal(trained_with_interruption(recipe, 12, interruption), whole));
  }
}

TEST_CASE("every method takes sparsities of 0 and of 1, and says when nothing is left") {
  const std::string method = GENERATE("magnitude", "global", "acdc", "movement", "rigl", "obs", "mfac");
  const double sparsity = GENERATE(0.0, 1.0);
  CAPTURE(method, sparsity);
  auto net = conv_net();
  auto sgd = make_optimizer("sgd", net);
  Session session(recipe_of(method, {0, 2}, 0.5, 2, {"9.weight"}, sparsity), *net, *sgd, 6);
  train(session, net, *sgd, 12);
  session.finish();
  const auto& notes = session.state().notes;
  for (const auto* name : {"0.weight", "3.weight", "6.weight"}) {
    const auto zeros = weight_of(net, name).eq(0);
    const auto emptied = "pruning: nothing is left of " + std::string(name);
    CHECK(std::count(notes.begin(), notes.end(), emptied) == (sparsity == 1 ? 1 : 0));
    if (sparsity == 1)
      CHECK(zeros.all().item<bool>());
    else
      CHECK(zeros.to(torch::kDouble).mean().item<double>() < 0.06);  // init_sparsity of gradual methods
    CHECK_FALSE(weight_of(net, name).isnan().any().item<bool>());
  }
}

TEST_CASE("every method says which weights are not finite, and keeps them to itself") {
  const std::string method =
      GENERATE("magnitude", "global", "acdc", "movement", "rigl", "topkast", "obs", "mfac");
  CAPTURE(method);
  auto net = conv_net();
  auto sgd = make_optimizer("plain sgd", net);
  {
    const torch::NoGradGuard no_grad;
    weight_of(net, "3.weight").flatten()[7] = std::numeric_limits<float>::infinity();
    weight_of(net, "3.weight").flatten()[11] = NAN;
  }
  Session session(recipe_of(method, {0, 1}, 0.25, 1), *net, *sgd, 4);
  // Gradients as a loss that does not see those two weights would give them.
  for (int i = 0; i < 4; ++i) {
    const auto step = session.begin_step();
    torch::manual_seed(i);
    for (auto& parameter : net->parameters()) parameter.mutable_grad() = torch::randn_like(parameter) * 0.01;
    step.optimize();
  }
  const auto& notes = session.state().notes;
  CHECK(std::count(notes.begin(), notes.end(),
                   "pruning: 2 values of 3.weight are not finite: they count as the largest and stay") == 1);
  const auto weight = weight_of(net, "3.weight").detach();
  CHECK(weight.numel() - weight.isfinite().sum().item<int64_t>() <= 2);
  if (method == "magnitude" || method == "global" || method == "obs" || method == "movement")
    CHECK_FALSE(weight.flatten()[7].isfinite().item<bool>());
}

TEST_CASE("every method prunes a net with an all-zero layer to its sparsity, and says so") {
  const std::string method = GENERATE("acdc", "movement", "rigl", "topkast", "obs", "mfac");
  const bool dead = GENERATE(false, true);  // the layer's gradients are zero as well
  CAPTURE(method, dead);
  auto net = conv_net();
  auto sgd = make_optimizer("sgd", net);
  {
    const torch::NoGradGuard no_grad;
    weight_of(net, "3.weight").zero_();
  }
  Session session(recipe_of(method, {0, 2}, 0.25, 3), *net, *sgd, 4);
  for (int i = 0; i < 8; ++i) {
    const auto step = session.begin_step();
    torch::manual_seed(i);
    for (auto& parameter : net->named_parameters())
      parameter.value().mutable_grad() =
          torch::randn_like(parameter.value()) * (dead && parameter.key() == "3.weight" ? 0 : 0.01);
    step.optimize();
  }
  session.finish();
  const auto& notes = session.state().notes;
  CHECK(std::count(notes.begin(), notes.end(), "pruning: 3.weight is all zero before it is pruned") == 1);
  double total = 0, kept = 0;
  for (const auto& [parameter, mask] : session.masks().by_parameter())
    total += double(mask.numel()), kept += mask.sum().item<double>();
  CHECK(kept / total == Approx(0.2).margin(0.001));
  for (const auto& parameter : net->parameters()) CHECK(parameter.isfinite().all().item<bool>());
  // Where layers compete nothing is left of it; where each has its own share it comes to life.
  const bool compete = method == "acdc" || method == "topkast" || method == "obs";
  CHECK(weight_of(net, "3.weight").eq(0).all().item<bool>() == (dead || compete));
}

TEST_CASE("Top-KAST without sparsity trains as if it were not there") {
  const auto trained = [](bool with) {
    auto net = conv_net();
    auto sgd = make_optimizer("sgd", net);
    Recipe recipe;
    if (with)
      recipe.add<TopKASTPruning>({.window = {0, 2},
                                  .update_frequency = 0.25,
                                  .forward_sparsity = 0.0,
                                  .backward_sparsity = 0.0,
                                  .active_weight_decay = 0});
    Session session(recipe, *net, *sgd, 4);
    torch::manual_seed(6);
    train(session, net, *sgd, 10);
    session.finish();
    if (with) CHECK(session.masks().find("3.weight").all().item<bool>());
    return weight_of(net, "3.weight").clone();
  };
  CHECK(torch::equal(trained(true), trained(false)));
}

TEST_CASE("ACDC with masks of blocks; what cannot alternate or compete is refused") {
  auto net = conv_net();
  auto sgd = make_optimizer("sgd", net);
  ACDCPruning::Options options;
  options.window = {0, 2}, options.update_frequency = 0.5, options.compression_sparsity = 0.5;
  options.params = {"3.weight", "9.weight"}, options.mask_type = "block4";
  Recipe recipe;
  recipe.add<ACDCPruning>(options);
  Session session(recipe, *net, *sgd, 6);
  train(session, net, *sgd, 12);
  session.finish();
  const auto blocks = weight_of(net, "3.weight").detach().eq(0).reshape({32, 4, 4, 9}).sum(2);
  CHECK(blocks.eq(0).logical_or(blocks.eq(4)).all().item<bool>());
  CHECK(zeros_of(net) == (32 * 16 * 9 + 4 * 32) / 2);
  {
    const torch::NoGradGuard no_grad;
    weight_of(net, "3.weight").fill_(1);
  }
  CHECK_THROWS_WITH(session.finish(), ContainsSubstring("ended"));
  options.mask_type = "filter";
  Recipe filters;
  filters.add<ACDCPruning>(options);
  CHECK_THROWS_WITH(Session(filters, *net, *sgd, 6), ContainsSubstring("cannot compete"));
  options.mask_type = "2:4";
  CHECK_THROWS_WITH(Recipe().add<ACDCPruning>(options), ContainsSubstring("no N:M form"));
}

TEST_CASE("powerpropagation leaves more weights near zero than training without it") {
  const auto near_zero = [](bool with) {
    auto net = conv_net();
    auto sgd = make_optimizer("plain sgd", net);
    for (auto& group : sgd->param_groups()) group.options().set_lr(0.2);
    Recipe recipe;
    if (with) recipe.add<Powerpropagation>({.window = {0, 40}, .alpha = 3});
    Session session(recipe, *net, *sgd, 5);
    torch::manual_seed(3);
    train(session, net, *sgd, 150);
    const auto weight = weight_of(net, "3.weight").detach().abs();
    return weight.lt(0.1 * weight.max()).to(torch::kDouble).mean().item<double>();
  };
  CHECK(near_zero(true) > near_zero(false) + 0.05);
}
