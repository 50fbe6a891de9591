// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch_test_macros.hpp>
#include <limits>

#include "sparsify/modifiers/nm_pruning.hpp"
#include "sparsify/session.hpp"
#include "sparsify/trainers/classification.hpp"
#include "sparsify/trainers/gradient_scaler.hpp"
#include "sparsify/trainers/trainer.hpp"

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
