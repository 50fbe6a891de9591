// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch_test_macros.hpp>
#include <limits>

#include "sparsify/trainers/gradient_scaler.hpp"

using sparsify::GradientScaler;

namespace {

struct OneWeight {
  torch::Tensor weight = torch::ones({1}, torch::requires_grad());
  torch::optim::SGD optimizer{{weight}, torch::optim::SGDOptions(1.0)};

  void step(GradientScaler& scaler, double gradient) {
    optimizer.zero_grad();
    scaler.scale((weight * gradient).sum()).backward();
    scaler.step(optimizer);
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
