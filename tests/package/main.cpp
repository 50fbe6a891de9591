// SPDX-License-Identifier: Apache-2.0
// A program that prunes a small network with sparsify::modifiers, as C++17; the package tests build it in
// every way of use.
#include <sparsify/modifiers.hpp>
#include <torch/torch.h>

#include <cstdio>

#ifndef _OPENMP
#error "sparsify::modifiers must bring OpenMP along: without it its kernels silently run on one thread"
#endif

int main() {
  at::manual_seed(0);
  torch::nn::Linear net(20, 10);
  torch::optim::SGD optimizer(net->parameters(), 0.01);

  sparsify::MagnitudePruning::Options options;
  options.window = {1, 3};
  options.final_sparsity = 0.8;
  sparsify::Recipe recipe;
  recipe.add<sparsify::MagnitudePruning>(options);

  sparsify::Session session(recipe, *net, optimizer, 4);
  for (auto epoch = session.first_epoch(); epoch < 4; ++epoch)
    for (int batch = 0; batch < 4; ++batch) {
      auto step = session.begin_step();
      optimizer.zero_grad();
      const auto output = step.forward([&] { return net->forward(at::randn({8, 20})); });
      step.loss(output.square().mean()).backward();
      step.optimize();
    }
  session.finish();
  std::printf("zeros: %lld of 200\n", static_cast<long long>((net->weight == 0).sum().item<std::int64_t>()));
}
