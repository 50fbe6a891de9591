// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <torch/torch.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "sparsify/session.hpp"

// A network, data and a loop small enough to train in every test.

namespace sparsify::test {

inline torch::nn::Sequential conv_net() {
  torch::manual_seed(1);
  using namespace torch::nn;
  return Sequential(Conv2d(Conv2dOptions(3, 16, 3).padding(1)), BatchNorm2d(16), ReLU(),
                    Conv2d(Conv2dOptions(16, 32, 3).padding(1)), BatchNorm2d(32), ReLU(),
                    Conv2d(Conv2dOptions(32, 32, 3).padding(1).groups(2)), AdaptiveAvgPool2d(1), Flatten(),
                    Linear(32, 4));
}

// Four classes told apart by which quarter of the image is bright.
inline std::pair<at::Tensor, at::Tensor> batch(int64_t n) {
  const auto labels = torch::randint(4, {n});
  auto images = torch::randn({n, 3, 8, 8}) * 0.5;
  for (int64_t i = 0; i < n; ++i) {
    const auto k = labels[i].item<int64_t>();
    images[i].slice(1, k / 2 * 4, k / 2 * 4 + 4).slice(2, k % 2 * 4, k % 2 * 4 + 4) += 1;
  }
  return {images, labels};
}

inline std::unique_ptr<torch::optim::Optimizer> make_optimizer(const std::string& name,
                                                               torch::nn::Sequential& net) {
  if (name == "sgd")
    return std::make_unique<torch::optim::SGD>(
        net->parameters(), torch::optim::SGDOptions(0.02).momentum(0.9).weight_decay(1e-4).nesterov(true));
  if (name == "plain sgd")
    return std::make_unique<torch::optim::SGD>(net->parameters(), torch::optim::SGDOptions(0.02));
  if (name == "adamw")
    return std::make_unique<torch::optim::AdamW>(net->parameters(), torch::optim::AdamWOptions(1e-3));
  return std::make_unique<torch::optim::RMSprop>(net->parameters(),
                                                 torch::optim::RMSpropOptions(1e-4).momentum(0.9));
}

inline double sparsity(const at::Tensor& tensor) {
  return tensor.eq(0).to(torch::kDouble).mean().item<double>();
}

inline void train(
    Session& session, torch::nn::Sequential& net, torch::optim::Optimizer& optimizer, int steps,
    const std::function<void()>& after_step = [] {}) {
  for (int i = 0; i < steps; ++i) {
    const auto [images, labels] = batch(16);
    auto step = session.begin_step();
    optimizer.zero_grad();
    const auto logits = step.forward([&, images = images] { return net->forward(images); });
    step.loss(torch::nn::functional::cross_entropy(logits, labels)).backward();
    step.optimize();
    after_step();
  }
}

inline at::Tensor momentum_of(torch::optim::Optimizer& optimizer, const at::Tensor& parameter) {
  auto& state = *optimizer.state().at(parameter.unsafeGetTensorImpl());
  if (auto* sgd = dynamic_cast<torch::optim::SGDParamState*>(&state)) return sgd->momentum_buffer();
  if (auto* adam = dynamic_cast<torch::optim::AdamWParamState*>(&state)) return adam->exp_avg();
  return dynamic_cast<torch::optim::RMSpropParamState&>(state).momentum_buffer();
}

}  // namespace sparsify::test
