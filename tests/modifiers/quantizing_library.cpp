// SPDX-License-Identifier: Apache-2.0
// Built into two shared libraries that know nothing of each other: both must quantize in one process.
#include <torch/torch.h>

#include "sparsify/modifiers/quantization.hpp"
#include "sparsify/session.hpp"

/// Trains nothing for two steps; returns the largest difference that quantization makes to the output.
extern "C" __attribute__((visibility("default"))) double quantized_difference() {
  torch::nn::Sequential net(torch::nn::Linear(8, 8), torch::nn::ReLU(), torch::nn::Linear(8, 8));
  torch::optim::SGD optimizer(net->parameters(), 0.0);
  sparsify::Recipe recipe;
  recipe.add<sparsify::Quantization>();
  sparsify::Session session(recipe, *net, optimizer, 1);
  const auto x = torch::randn({16, 8});
  for (int i = 0; i < 3; ++i) {
    auto step = session.begin_step();
    step.forward([&] { return net->forward(x); });
    step.optimize();
  }
  session.finish();
  const torch::NoGradGuard no_grad;
  const auto difference = session.evaluate([&] { return net->forward(x); }) - net->forward(x);
  return difference.abs().max().item<double>();
}
