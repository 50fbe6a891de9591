// SPDX-License-Identifier: Apache-2.0
#include <torch/torch.h>

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers.hpp>
#include <limits>

#include "sparsify/error.hpp"
#include "sparsify/modifiers/nm_pruning.hpp"
#include "sparsify/modifiers/set_learning_rate.hpp"
#include "sparsify/session.hpp"
#include "sparsify/trainers/classification.hpp"
#include "sparsify/trainers/gradient_scaler.hpp"
#include "sparsify/trainers/optimizers.hpp"
#include "sparsify/trainers/trainer.hpp"

using Catch::Approx;
using sparsify::GradientScaler;

namespace {

struct OneWeight {
  torch::Tensor weight = torch::ones({1}, torch::requires_grad());
  torch::optim::SGD optimizer{{weight}, torch::optim::SGDOptions(1.0)};

  void step(GradientScaler& scaler, double gradient) {
    optimizer.zero_grad();
    scaler.scale((weight * gradient).sum()).backward();
    const bool finite = scaler.unscale(optimizer);
    if (finite) optimizer.step();
    scaler.update(finite);
  }
};

double scale_of(const GradientScaler& scaler) { return scaler.state()[0].item<double>(); }

/// What a step is taken with.
struct StepNumbers {
  double weights_lr, norms_lr, biases_lr, momentum;
};

StepNumbers numbers_of(const torch::optim::Optimizer& optimizer) {
  const auto& groups = optimizer.param_groups();
  return {groups.at(0).options().get_lr(), groups.at(1).options().get_lr(), groups.at(2).options().get_lr(),
          static_cast<const torch::optim::SGDOptions&>(groups.at(0).options()).momentum()};
}

sparsify::LearningRateSchedule warming_schedule() {
  sparsify::LearningRateSchedule schedule;
  schedule.name = "linear", schedule.base = 0.01, schedule.last = 0.1;
  schedule.warmup_steps = 4, schedule.total_steps = 14;
  schedule.warmup_bias_lr = 0.09;
  schedule.momentum = 0.9, schedule.warmup_momentum = 0.5;
  return schedule;
}

/// Of every step of two epochs of four, the first of which warms up.
std::vector<StepNumbers> numbers_of_training(const sparsify::Recipe& recipe) {
  using namespace sparsify;
  const auto data = trainers::open_datasets("generated:train=64,val=16", {});
  TrainOptions options;
  options.epochs = 2, options.warmup_epochs = 1, options.lr_schedule = "constant", options.device = "cpu";
  options.optimizer.lr = 0.01, options.optimizer.momentum = 0.9;
  options.warmup_bias_lr = 0.09, options.warmup_momentum = 0.5;
  std::vector<StepNumbers> numbers;
  const Session* session = nullptr;
  TrainEvents events;
  events.progress = [&](const TrainProgress&) { numbers.push_back(numbers_of(*session->state().optimizer)); };
  const ClassificationOptions batches{.batch_size = 16, .workers = 0};
  Trainer trainer(std::make_shared<Classification>(build_model("resnet8_cifar", {}), data, batches), recipe,
                  options, events);
  session = &trainer.session();
  trainer.run();
  return numbers;
}

}  // namespace

TEST_CASE("the gradient scaler takes the same step as without it, and none that overflowed", "[training]") {
  OneWeight net;
  GradientScaler scaler(true);
  net.step(scaler, 0.25);
  CHECK(net.weight.item<double>() == 0.75);
  CHECK(scale_of(scaler) == 65536);

  net.step(scaler, std::numeric_limits<double>::infinity());
  CHECK(net.weight.item<double>() == 0.75);
  CHECK(scale_of(scaler) == 32768);

  OneWeight plain;
  GradientScaler off(false);
  plain.step(off, 0.25);
  CHECK(plain.weight.item<double>() == 0.75);
  CHECK(net.weight.grad().item<double>() == std::numeric_limits<double>::infinity());
  net.step(scaler, 0.125);
  CHECK(net.weight.grad().item<double>() == 0.125);  // what modifiers look at has no scale
}

TEST_CASE("the gradient scaler goes on from a saved state", "[training]") {
  OneWeight net;
  GradientScaler scaler(true);
  net.step(scaler, std::numeric_limits<double>::infinity());
  for (int i = 0; i < 1999; ++i) net.step(scaler, 0);

  GradientScaler resumed(true);
  resumed.load(scaler.state());
  net.step(scaler, 0);  // the 2,000th good step doubles the scale
  net.step(resumed, 0);
  CHECK(scale_of(scaler) == 65536);
  CHECK(scale_of(resumed) == 65536);
}

TEST_CASE("averaged weights start afresh when channels change places", "[training]") {
  using namespace sparsify;
  const auto data = trainers::open_datasets("generated:train=64,val=16", {});
  const auto trained = [&](double ema_decay) {
    torch::manual_seed(1);
    auto model = build_model("resnet8_cifar", {});
    Recipe recipe;
    recipe.add<NMPruning>({.start_epoch = 0.5, .eligible = {.min_channels = 32}, .permute = true});
    TrainOptions options;
    options.epochs = 1, options.ema_decay = ema_decay;
    options.optimizer.lr = 1e-12;  // weights stand still: their average is what they are
    const ClassificationOptions batches{.batch_size = 16, .workers = 0};
    Trainer trainer(std::make_shared<Classification>(model, data, batches), recipe, options);
    trainer.run();
    CHECK(trainer.session().state().rearrangements > 0);
    return model;
  };
  const auto plain = trained(0), averaged = trained(0.9);
  const auto expected = plain->named_parameters();
  for (const auto& parameter : averaged->named_parameters()) {
    INFO(parameter.key());
    CHECK(torch::allclose(parameter.value(), expected[parameter.key()], 1e-4, 1e-6));
  }
}

TEST_CASE("learning rates of biases fall to the schedule's while others and the momentum rise",
          "[training]") {
  const auto schedule = warming_schedule();
  const double weights[] = {0.0025, 0.005, 0.0075, 0.01, 0.01, 0.0091};
  const double biases[] = {0.07, 0.05, 0.03, 0.01, 0.01, 0.0091};
  const double momentum[] = {0.6, 0.7, 0.8, 0.9, 0.9, 0.9};
  for (int step = 0; step < 6; ++step) {
    INFO(step);
    CHECK(schedule.at(step) == Approx(weights[step]));
    CHECK(schedule.of_biases(step) == Approx(biases[step]));
    CHECK(schedule.momentum_at(step) == Approx(momentum[step]));
  }
  CHECK(schedule.at(14) == Approx(0.001));
}

TEST_CASE("a plain warm-up treats all alike and leaves the momentum", "[training]") {
  auto schedule = warming_schedule();
  schedule.warmup_bias_lr = schedule.warmup_momentum = 0;
  CHECK(schedule.of_biases(1) == schedule.at(1));
  CHECK(schedule.momentum_at(0) == 0.9);
  schedule.momentum = 0, schedule.warmup_momentum = 0.5;  // an SGD without momentum gets none
  CHECK(schedule.momentum_at(0) == 0);
  schedule.warmup_momentum = 1;
  CHECK_THROWS_WITH(schedule.check(), "warmup_momentum: expected a number from 0 to below 1");
  schedule.warmup_bias_lr = -1;
  CHECK_THROWS_WITH(schedule.check(), "warmup_bias_lr: expected a number >= 0");
}

TEST_CASE("an optimizer has groups of weights, norms and biases, which a schedule sets", "[training]") {
  using namespace sparsify;
  torch::nn::Sequential net(torch::nn::Conv2d(3, 4, 3), torch::nn::BatchNorm2d(4), torch::nn::Linear(4, 2));
  const auto sgd = make_optimizer(*net, {});
  const auto& groups = sgd->param_groups();
  REQUIRE(groups.size() == 3);
  const auto names = net->named_parameters();
  CHECK(groups[0].params().size() == 2);
  REQUIRE(groups[1].params().size() == 1);
  CHECK(groups[1].params()[0].is_same(names["1.weight"]));
  CHECK(groups[kBiasGroup].params().size() == 3);
  for (const std::size_t i : {0, 1, 2})
    CHECK(static_cast<const torch::optim::SGDOptions&>(groups[i].options()).weight_decay() ==
          (i == 0 ? 5e-4 : 0));
  warming_schedule().apply(1, *sgd);
  const auto numbers = numbers_of(*sgd);
  CHECK(numbers.weights_lr == Approx(0.005));
  CHECK(numbers.norms_lr == Approx(0.005));
  CHECK(numbers.biases_lr == Approx(0.05));
  CHECK(numbers.momentum == Approx(0.7));

  OptimizerOptions adam;
  adam.name = "adamw";
  const auto adamw = make_optimizer(*net, adam);
  warming_schedule().apply(1, *adamw);
  CHECK(adamw->param_groups()[kBiasGroup].options().get_lr() == Approx(0.05));
}

TEST_CASE("training warms up unless the recipe sets learning rates", "[training]") {
  using namespace sparsify;
  const auto warmed = numbers_of_training({});
  REQUIRE(warmed.size() == 8);
  CHECK(warmed[0].weights_lr == Approx(0.0025));
  CHECK(warmed[0].biases_lr == Approx(0.07));
  CHECK(warmed[0].momentum == Approx(0.6));
  CHECK(warmed[7].biases_lr == Approx(0.01));
  CHECK(warmed[7].momentum == Approx(0.9));

  Recipe recipe;
  recipe.add<SetLearningRate>({.learning_rate = 0.002});
  for (const auto& step : numbers_of_training(recipe)) {
    CHECK(step.weights_lr == 0.002);
    CHECK(step.biases_lr == 0.002);
    CHECK(step.momentum == 0.9);
  }
}
