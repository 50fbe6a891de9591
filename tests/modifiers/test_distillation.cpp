// SPDX-License-Identifier: Apache-2.0
#include <torch/torch.h>

#include <array>
#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <cmath>

#include "sparsify/modifiers/distillation.hpp"
#include "sparsify/session.hpp"
#include "training.hpp"

using namespace sparsify;
using namespace sparsify::test;
using Catch::Approx;
using Catch::Matchers::ContainsSubstring;

namespace {

// What the model's only weight gives, as logits of `rows` images.
struct Logits {
  explicit Logits(const at::Tensor& start) : one(start) {}
  at::Tensor operator()() { return one.net->weight * 1; }
  OneWeight one;
};

}  // namespace

TEST_CASE("distillation: the loss is Hinton's, worked out in doubles") {
  const auto student = torch::tensor({{1.F, 2.F, -1.F}, {0.F, 0.5F, 3.F}});
  const auto teacher = torch::tensor({{0.F, 4.F, 1.F}, {2.F, 2.F, -2.F}});
  Logits logits(student);
  Recipe recipe;
  recipe.add<Distillation>({.window = {1, 2}, .hardness = 0.25, .temperature = 3});
  Session session(recipe, *logits.one.net, logits.one.sgd, 1);
  double expected = 0;
  for (int row = 0; row < 2; ++row) {
    std::array<double, 3> p{}, q{};
    double p_sum = 0, q_sum = 0;
    for (int k = 0; k < 3; ++k) {
      p[k] = std::exp(teacher[row][k].item<double>() / 3),
      q[k] = std::exp(student[row][k].item<double>() / 3);
      p_sum += p[k], q_sum += q[k];
    }
    for (int k = 0; k < 3; ++k)
      expected += p[k] / p_sum * std::log(p[k] / p_sum / (q[k] / q_sum)) / 2;  // the mean of two rows
  }
  bool taught = false;
  const auto loss_of_step = [&] {
    auto step = session.begin_step();
    step.forward(logits);
    step.teach([&] { return taught = true, teacher; });
    const auto loss = step.loss(torch::tensor(8.F)).item<double>();
    logits.one.sgd.zero_grad();
    step.optimize();
    return loss;
  };
  CHECK(loss_of_step() == 8);
  CHECK_FALSE(taught);  // before the window the teacher does not run
  CHECK(loss_of_step() == Approx(0.75 * 8 + 0.25 * 9 * expected).epsilon(1e-5));
  taught = false;
  CHECK(loss_of_step() == 8);
  CHECK_FALSE(taught);
}

TEST_CASE("distillation takes the mean over several outputs, and says what does not fit") {
  Logits logits(torch::tensor({{1.F, 0.F}}));
  Recipe recipe;
  recipe.add<Distillation>({.hardness = 1, .temperature = 1});
  Session session(recipe, *logits.one.net, logits.one.sgd, 1);
  const auto one = torch::tensor({{0.F, 2.F}}), other = torch::tensor({{3.F, 0.F}});
  const auto loss_with = [&](auto&& student, auto&& teacher) {
    auto step = session.begin_step();
    step.forward([&] { return student; });
    step.teach([&] { return teacher; });
    return step.loss(torch::tensor(5.F)).template item<double>();
  };
  const auto same = logits();
  CHECK(loss_with(std::vector{same, same}, std::vector{one, other}) ==
        Approx((loss_with(same, one) + loss_with(same, other)) / 2));
  CHECK(loss_with(same, same) == Approx(0).margin(1e-6));
  CHECK_THROWS_WITH(loss_with(same, std::vector{one, other}),
                    ContainsSubstring("gives 2 outputs, the model 1"));
  CHECK_THROWS_WITH(loss_with(same, torch::zeros({1, 3})),
                    ContainsSubstring("shape [1, 3]") && ContainsSubstring("model's [1, 2]"));
  auto step = session.begin_step();
  step.forward(logits);
  CHECK_THROWS_WITH(step.loss(torch::tensor(1.F)),
                    ContainsSubstring("DistillationModifier") && ContainsSubstring("no teacher"));
}

TEST_CASE("one distillation takes over from another, two at once are refused") {
  Logits logits(torch::tensor({{1.F, 0.F}}));
  Recipe recipe;
  recipe.add<Distillation>({.window = {0, 1}, .hardness = 0.5});
  recipe.add<Distillation>({.window = {1, 2}, .hardness = 1});
  Session session(recipe, *logits.one.net, logits.one.sgd, 1);
  for (const double labels : {0.5, 0.0, 1.0}) {
    auto step = session.begin_step();
    logits.one.sgd.zero_grad();
    step.forward(logits);
    step.teach(logits);
    CHECK(step.loss(torch::tensor(8.F)).item<double>() == Approx(8 * labels).margin(1e-6));
    step.optimize();
  }
  recipe.add<Distillation>({.window = {0, 2}});
  CHECK_THROWS_WITH(Session(recipe, *logits.one.net, logits.one.sgd, 1),
                    ContainsSubstring("what is learnt from the teacher"));
}

TEST_CASE("distillation: a loop may compare outputs in its own way, in every window") {
  Logits logits(torch::tensor({{1.F, 0.F}}));
  Recipe recipe;
  recipe.add<Distillation>({.window = {0, 1}, .hardness = 0.25, .temperature = 3});
  recipe.add<Distillation>({.window = {1, 2}, .hardness = 1, .temperature = 5});
  Session session(recipe, *logits.one.net, logits.one.sgd, 1);
  const auto both = session.find_all<Distillation>();
  REQUIRE(both.size() == 2);
  CHECK(session.find<Distillation>() == both.front());
  for (auto* distillation : both)
    distillation->set_divergence([](const auto& student, const auto& teacher, double temperature) {
      return (student[0] - teacher[0]).square().sum() * temperature;
    });
  const auto teacher = torch::tensor({{0.F, 2.F}});
  for (const double expected : {0.75 * 8 + 0.25 * 3 * 5, 5.0 * 5}) {
    auto step = session.begin_step();
    logits.one.sgd.zero_grad();
    step.forward(logits);
    step.teach([&] { return teacher; });
    CHECK(step.loss(torch::tensor(8.F)).item<double>() == Approx(expected));
    step.forward(logits);
    step.teach([&] { return torch::zeros({2, 2}); });
    CHECK_THROWS_WITH(step.loss(torch::tensor(8.F)), ContainsSubstring("output has the shape [2, 2]"));
    step.optimize();
  }
}

TEST_CASE("a student learns from its teacher alone, without one true label") {
  auto teacher = conv_net();
  auto sgd = make_optimizer("sgd", teacher);
  Session dense(Recipe(), *teacher, *sgd, 10);
  torch::manual_seed(3);
  train(dense, teacher, *sgd, 60);
  teacher->eval();

  auto student = conv_net();
  sgd = make_optimizer("sgd", student);
  Recipe recipe;
  recipe.add<Distillation>({.hardness = 1});
  Session session(recipe, *student, *sgd, 10);
  for (int i = 0; i < 80; ++i) {
    const auto images = batch(16).first;
    auto step = session.begin_step();
    sgd->zero_grad();
    const auto logits = step.forward([&] { return student->forward(images); });
    step.teach([&] { return teacher->forward(images); });
    const auto wrong = torch::nn::functional::cross_entropy(logits, torch::zeros({16}, torch::kLong));
    step.loss(wrong).backward();
    step.optimize();
  }
  CHECK(accuracy(student) > 0.9);  // four classes: chance is 0.25
}

TEST_CASE("distillation options out of range are refused") {
  CHECK_THROWS_WITH(Recipe().add<Distillation>({.hardness = 1.5}),
                    "hardness: expected a fraction from 0 to 1, got 1.5; percent are written as a fraction: "
                    "0.015");
  CHECK_THROWS_WITH(Recipe().add<Distillation>({.temperature = 0}),
                    "temperature: expected a number > 0, got 0");
}
