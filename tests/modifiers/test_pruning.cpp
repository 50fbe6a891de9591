// SPDX-License-Identifier: Apache-2.0
#include <torch/torch.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <limits>

#include "sparsify/modifiers/constant_pruning.hpp"
#include "sparsify/modifiers/global_magnitude_pruning.hpp"
#include "sparsify/modifiers/magnitude_pruning.hpp"
#include "sparsify/modifiers/nm_pruning.hpp"
#include "sparsify/session.hpp"
#include "training.hpp"

using namespace sparsify;
using namespace sparsify::test;
using Catch::Matchers::ContainsSubstring;

TEST_CASE(
    "gradual pruning reaches its target when training stops exactly at end_epoch, masks hold every step") {
  const auto optimizer_name = GENERATE("sgd", "adamw", "rmsprop");
  const auto inter_func = GENERATE("linear", "cubic");
  auto net = conv_net();
  auto optimizer = make_optimizer(optimizer_name, net);
  GradualPruningOptions options;
  options.window = {1, 3}, options.update_frequency = 0.3, options.final_sparsity = 0.85,
  options.inter_func = inter_func;
  Recipe recipe;
  recipe.add<MagnitudePruning>(options);
  Session session(recipe, *net, *optimizer, 7);
  const auto weight = net->named_parameters()["3.weight"];
  std::vector<double> history;
  train(session, net, *optimizer, 21, [&] {
    history.push_back(sparsity(weight));
    const auto mask = session.masks().find("3.weight");
    if (!mask.defined()) return;
    CHECK((weight * mask.logical_not()).abs().max().item<float>() == 0);
    CHECK((momentum_of(*optimizer, weight) * mask.logical_not()).abs().max().item<float>() == 0);
  });
  CHECK_NOTHROW(session.finish());
  CHECK(history[6] == 0);
  CHECK(history[7] == std::llround(0.05 * weight.numel()) / double(weight.numel()));
  CHECK(std::is_sorted(history.begin(), history.end()));
  for (const auto* name : {"0.weight", "3.weight", "6.weight", "9.weight"}) {
    const auto w = net->named_parameters()[name];
    CHECK(w.eq(0).sum().item<int64_t>() == std::llround(0.85 * w.numel()));
  }
  CHECK_FALSE(session.masks().find("1.weight").defined());
}

TEST_CASE("finish says when pruning did not finish, or was undone") {
  auto net = conv_net();
  auto sgd = make_optimizer("sgd", net);
  GradualPruningOptions options;
  options.window = {0, 2}, options.final_sparsity = 0.5;
  Recipe recipe;
  recipe.add<MagnitudePruning>(options);
  Session session(recipe, *net, *sgd, 4);
  train(session, net, *sgd, 7);
  CHECK_THROWS_WITH(session.finish(), ContainsSubstring("before end_epoch"));
  train(session, net, *sgd, 1);
  CHECK_NOTHROW(session.finish());
  torch::NoGradGuard no_grad;
  net->named_parameters()["9.weight"].fill_(1);
  CHECK_THROWS_WITH(session.finish(), ContainsSubstring("9.weight ended 0.0"));
}

TEST_CASE("global pruning meets the target over all weights, layers differ") {
  auto net = conv_net();
  auto sgd = make_optimizer("sgd", net);
  GradualPruningOptions options;
  options.window = {0, 1}, options.final_sparsity = 0.8, options.params = {"*.weight"};
  options.params = {"__ALL_PRUNABLE__"};
  Recipe recipe;
  recipe.add<GlobalMagnitudePruning>(options);
  Session session(recipe, *net, *sgd, 5);
  train(session, net, *sgd, 5);
  session.finish();
  int64_t zeros = 0, total = 0;
  for (const auto& parameter : session.state().parameters)
    if (parameter.prunable())
      zeros += parameter.tensor.eq(0).sum().item<int64_t>(), total += parameter.tensor.numel();
  CHECK(zeros == std::llround(0.8 * total));
  CHECK(sparsity(net->named_parameters()["9.weight"]) < 0.6);  // the classifier's weights are larger
}

TEST_CASE("leave_enabled: false lets weights grow back") {
  auto net = conv_net();
  auto sgd = make_optimizer("sgd", net);
  GradualPruningOptions options;
  options.window = {0, 1}, options.final_sparsity = 0.5, options.leave_enabled = false;
  Recipe recipe;
  recipe.add<MagnitudePruning>(options);
  Session session(recipe, *net, *sgd, 4);
  train(session, net, *sgd, 4);
  CHECK(sparsity(net->named_parameters()["3.weight"]) == 0.5);
  train(session, net, *sgd, 4);
  CHECK(sparsity(net->named_parameters()["3.weight"]) < 0.1);
}

TEST_CASE("2:4 pruning: one shot, fixed mask, what GPUs cannot use stays dense and is noted") {
  auto net = conv_net();
  auto sgd = make_optimizer("sgd", net);
  Recipe recipe;
  recipe.add<NMPruning>({1});
  Session session(recipe, *net, *sgd, 3);
  const auto& notes = session.state().notes;
  REQUIRE(notes.size() == 2);
  CHECK(notes[0] == "2:4: 0.weight stays dense: 3 input channels are not a multiple of 4");
  CHECK(notes[1] == "2:4: 6.weight stays dense: a grouped convolution");
  at::Tensor first;
  train(session, net, *sgd, 10, [&] {
    const auto mask = session.masks().find("3.weight");
    CHECK(mask.defined() == (session.state().step > 3));
    if (!mask.defined()) return;
    if (!first.defined()) first = mask.clone();
    CHECK(torch::equal(mask, first));
    CHECK(obeys(net->named_parameters()["3.weight"], {2, 4}));
  });
  session.finish();
  CHECK(sparsity(net->named_parameters()["3.weight"]) == 0.5);
  CHECK(sparsity(net->named_parameters()["6.weight"]) == 0);

  {
    const torch::NoGradGuard no_grad;
    weight_of(net, "3.weight")[0].slice(0, 0, 4).copy_(
        torch::tensor({1.F, NAN, -std::numeric_limits<float>::infinity(), 9.F}).view({4, 1, 1}));
    weight_of(net, "9.weight").zero_();
  }
  Recipe at_once;
  at_once.add<NMPruning>();
  Session odd(at_once, *net, *sgd, 3);
  odd.begin_step();
  const auto mask = odd.masks().find("3.weight");
  CHECK(torch::equal(mask[0].slice(0, 0, 4),
                     torch::tensor({false, true, true, false}).view({4, 1, 1}).expand({4, 3, 3})));
  CHECK(odd.state().notes.at(2) ==
        "pruning: 18 values of 3.weight are not finite: they count as the largest and stay");
  CHECK(odd.state().notes.at(3) == "pruning: 9.weight is all zero before it is pruned");

  Recipe nothing_fits;
  nothing_fits.add<NMPruning>({0, "2:4", {"0.weight"}});
  CHECK_THROWS_WITH(Session(nothing_fits, *net, *sgd, 3),
                    ContainsSubstring("no selected weight can be pruned 2:4"));
}

TEST_CASE("constant pruning keeps the zeros it finds, and only those") {
  auto net = conv_net();
  auto sgd = make_optimizer("sgd", net);
  const auto weight = net->named_parameters()["3.weight"];
  {
    torch::NoGradGuard no_grad;
    weight.masked_fill_(weight.abs() < 0.05, 0);
  }
  const auto zeros = weight.eq(0);
  REQUIRE(zeros.sum().item<int64_t>() > 1000);
  Recipe recipe;
  recipe.add<ConstantPruning>();
  Session session(recipe, *net, *sgd, 5);
  train(session, net, *sgd, 5);
  session.finish();
  CHECK(torch::equal(weight.eq(0), zeros));
  CHECK(session.state().notes.empty());
  const torch::NoGradGuard no_grad;
  weight.add_(1);
  CHECK_THROWS_WITH(session.finish(), ContainsSubstring("3.weight: something wrote to its zeros"));
}

TEST_CASE("constant pruning says when there is nothing to keep, and what is odd") {
  auto net = conv_net();
  auto sgd = make_optimizer("sgd", net);
  Recipe recipe;
  recipe.add<ConstantPruning>();
  Session dense(recipe, *net, *sgd, 5);
  dense.begin_step();
  CHECK(dense.state().notes ==
        std::vector<std::string>{"constant pruning: no selected weight has a zero to keep"});
  {
    const torch::NoGradGuard no_grad;
    weight_of(net, "9.weight").zero_();
    weight_of(net, "3.weight").flatten()[7] = NAN;
  }
  Session odd(recipe, *net, *sgd, 5);
  odd.begin_step();
  CHECK(odd.state().notes ==
        std::vector<std::string>{
            "pruning: 1 values of 3.weight are not finite: they count as the largest and stay",
            "pruning: 9.weight is all zero before it is pruned"});
  CHECK(odd.masks().find("3.weight").all().item<bool>());
}

TEST_CASE("a resumed session goes on exactly as the uninterrupted one") {
  GradualPruningOptions options;
  options.window = {0, 2}, options.final_sparsity = 0.9, options.update_frequency = 0.5;
  Recipe recipe;
  recipe.add<GlobalMagnitudePruning>(options);
  const auto whole = trained_with_interruption(recipe, 12, 12);
  for (int interruption = 1; interruption < 12; ++interruption) {
    INFO("interrupted after step " << interruption);
    CHECK(torch::equal(trained_with_interruption(recipe, 12, interruption), whole));
  }
}
