// SPDX-License-Identifier: Apache-2.0
// Modifiers that set the values of parameters, with numbers worked by hand.
#include <torch/torch.h>

#include <catch2/catch_test_macros.hpp>

#include "sparsify/modifiers/gradual_param.hpp"
#include "sparsify/modifiers/set_param.hpp"
#include "sparsify/session.hpp"
#include "training.hpp"

using namespace sparsify;
using namespace sparsify::test;

namespace {

// The weights after each of 14 steps, four to an epoch, in which gradient descent takes 0.5 off each.
std::vector<float> history_of(const Recipe& recipe) {
  OneWeight one(torch::tensor({{100.F, 100.F}}), 0.5);
  Session session(recipe, *one.net, one.sgd, 4);
  std::vector<float> history;
  for (int i = 0; i < 14; ++i) {
    one.step(session, torch::ones({1, 2}));
    CHECK(one.weight()[0][0].item<float>() == one.weight()[0][1].item<float>());
    history.push_back(one.weight()[0][0].item<float>());
  }
  session.finish();
  return history;
}

Recipe gradual(double update_frequency, const std::string& inter_func) {
  Recipe recipe;
  recipe.add<GradualParam>({.window = {1, 3},
                            .update_frequency = update_frequency,
                            .params = {"weight"},
                            .init_val = 10,
                            .final_val = 3,
                            .inter_func = inter_func});
  return recipe;
}

}  // namespace

TEST_CASE("a parameter is set once, at its epoch, and trains on from there") {
  Recipe later, at_once;
  later.add<SetParam>({.start_epoch = 1, .params = {"weight"}, .val = 7.25});
  CHECK(history_of(later) ==
        std::vector<float>{99.5, 99, 98.5, 98, 6.75, 6.25, 5.75, 5.25, 4.75, 4.25, 3.75, 3.25, 2.75, 2.25});
  at_once.add<SetParam>({.params = {"weight"}, .val = -2});
  CHECK(history_of(at_once) ==
        std::vector<float>{-2.5, -3, -3.5, -4, -4.5, -5, -5.5, -6, -6.5, -7, -7.5, -8, -8.5, -9});
}

TEST_CASE("a parameter moves from its first value to its last, which the last step of the window has") {
  // Steps 4 to 11: 10, 9 ... 3, each followed by 0.5 of training.
  CHECK(history_of(gradual(-1, "linear")) ==
        std::vector<float>{99.5, 99, 98.5, 98, 9.5, 8.5, 7.5, 6.5, 5.5, 4.5, 3.5, 2.5, 2, 1.5});
  // Updates at 4, 7, 10 and the last, 11: between them it trains.
  CHECK(history_of(gradual(0.75, "linear")) ==
        std::vector<float>{99.5, 99, 98.5, 98, 9.5, 9, 8.5, 6.5, 6, 5.5, 3.5, 2.5, 2, 1.5});
  // Cubic, in the middle: 10 - 7 (1 - (4/7)^3) at step 7.
  const auto cubic = history_of(gradual(-1, "cubic"));
  CHECK(cubic[4] == 9.5F);
  CHECK(std::abs(cubic[7] - (10 - 7 * (1 - 64.0 / 343) - 0.5)) < 1e-5);
  CHECK(cubic[11] == 2.5F);
}

TEST_CASE("only the selected parameters are set") {
  auto net = conv_net();
  auto sgd = make_optimizer("plain sgd", net);
  const auto other = weight_of(net, "4.weight").clone();
  Recipe recipe;
  recipe.add<SetParam>({.params = {"re:[14].weight"}, .exclude = {"4.weight"}, .val = 0.125});
  Session session(recipe, *net, *sgd, 4);
  session.begin_step();
  CHECK(weight_of(net, "1.weight").eq(0.125).all().item<bool>());
  CHECK(torch::equal(weight_of(net, "4.weight"), other));
}
