// SPDX-License-Identifier: Apache-2.0
// Loads a recipe that names the modifier of gradient_noise.hpp and watches it act: in epoch 1, and only
// there.
#include <sparsify/load_recipe.hpp>
#include <sparsify/session.hpp>
#include <torch/torch.h>

#include <cstdio>
#include <exception>

#include "gradient_noise.hpp"

int main(int argc, char** argv) try {
  if (argc != 2) throw std::runtime_error("usage: custom_modifier RECIPE");
  at::manual_seed(0);
  torch::nn::Linear net(100, 100);
  torch::optim::SGD optimizer(net->parameters(), 0.1);
  const std::int64_t steps_per_epoch = 2;
  sparsify::Session session(sparsify::load_recipe(argv[1]), *net, optimizer, steps_per_epoch);
  for (int count = 0; count < 3 * steps_per_epoch; ++count) {
    auto step = session.begin_step();
    optimizer.zero_grad();
    const auto before = net->weight.detach().clone();
    // This loss has gradient 0 everywhere, so whatever moves the weights is noise.
    step.loss(0 * step.forward([&] { return net->forward(at::ones({1, 100})); }).sum()).backward();
    step.optimize();
    const auto moved = (net->weight.detach() - before).std().item<double>();
    std::printf("step %d: weights moved by %.2f\n", count, moved);
  }
  session.finish();
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "custom_modifier: %s\n", error.what());
  return 1;
}
