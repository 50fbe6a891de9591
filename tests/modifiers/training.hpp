// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <torch/torch.h>

#include <functional>
#include <memory>
#include <sstream>
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

/// The parameter of that name.
inline at::Tensor weight_of(torch::nn::Sequential& net, const std::string& name) {
  return net->named_parameters()[name];
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

/// The share of 200 images it gets right.
inline double accuracy(torch::nn::Sequential& net) {
  torch::NoGradGuard no_grad;
  torch::manual_seed(77);
  const auto [images, labels] = batch(200);
  net->eval();
  const auto correct = net->forward(images).argmax(1).eq(labels).to(torch::kDouble).mean().item<double>();
  net->train();
  return correct;
}

inline at::Tensor momentum_of(torch::optim::Optimizer& optimizer, const at::Tensor& parameter) {
  auto& state = *optimizer.state().at(parameter.unsafeGetTensorImpl());
  if (auto* sgd = dynamic_cast<torch::optim::SGDParamState*>(&state)) return sgd->momentum_buffer();
  if (auto* adam = dynamic_cast<torch::optim::AdamWParamState*>(&state)) return adam->exp_avg();
  return dynamic_cast<torch::optim::RMSpropParamState&>(state).momentum_buffer();
}

/// The weight "3.weight" after `steps` steps under the recipe, saved and loaded into fresh objects after
/// `interruption` of them.
inline at::Tensor trained_with_interruption(const Recipe& recipe, int steps, int interruption) {
  auto net = conv_net();
  auto sgd = make_optimizer("sgd", net);
  auto session = std::make_unique<Session>(recipe, *net, *sgd, 6);
  torch::manual_seed(9);
  train(*session, net, *sgd, interruption);
  if (interruption < steps) {
    std::stringstream weights, moments;
    torch::serialize::OutputArchive weight_archive, moment_archive;
    net->save(weight_archive), weight_archive.save_to(weights);
    sgd->save(moment_archive), moment_archive.save_to(moments);
    const auto saved = session->state_dict();
    net = conv_net();
    sgd = make_optimizer("sgd", net);
    torch::serialize::InputArchive weights_in, moments_in;
    weights_in.load_from(weights), net->load(weights_in);
    moments_in.load_from(moments), sgd->load(moments_in);
    session = std::make_unique<Session>(recipe, *net, *sgd, 6);
    session->load_state_dict(saved);
    torch::manual_seed(9);
    for (int i = 0; i < interruption; ++i) batch(16);
    train(*session, net, *sgd, steps - interruption);
  }
  session->finish();
  return weight_of(net, "3.weight").clone();
}

/// One weight matrix, and a loss whose gradient is chosen: sum(weight * gradient).
struct OneWeight {
  explicit OneWeight(const at::Tensor& start, double learning_rate = 0.1)
      : net(torch::nn::LinearOptions(start.size(1), start.size(0)).bias(false)),
        sgd(net->parameters(), torch::optim::SGDOptions(learning_rate)) {
    torch::NoGradGuard no_grad;
    net->weight.copy_(start);
  }
  void step(Session& session, const at::Tensor& gradient) {
    auto step = session.begin_step();
    sgd.zero_grad();
    step.loss((net->weight * gradient).sum()).backward();
    step.optimize();
  }
  at::Tensor weight() const { return net->weight.detach(); }
  torch::nn::Linear net;
  torch::optim::SGD sgd;
};

}  // namespace sparsify::test
