// SPDX-License-Identifier: Apache-2.0
#include <torch/torch.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "sparsify/modifiers/constant_pruning.hpp"
#include "sparsify/session.hpp"

using namespace sparsify;

namespace {

// Convolution in channels_last, linear layer, biases, and one parameter that is never used.
struct NetImpl : torch::nn::Module {
  NetImpl() {
    conv = register_module("conv", torch::nn::Conv2d(torch::nn::Conv2dOptions(8, 33, 3)));
    fc = register_module("fc", torch::nn::Linear(33, 7));
    unused = register_parameter("unused", torch::ones({3}));
    torch::NoGradGuard no_grad;
    conv->weight.set_data(conv->weight.contiguous(at::MemoryFormat::ChannelsLast));
    conv->weight.masked_fill_(torch::rand_like(conv->weight) < 0.6, 0);
    fc->weight.masked_fill_(torch::rand_like(fc->weight) < 0.6, 0);
  }
  torch::Tensor forward(torch::Tensor x) { return fc(conv(x).relu().mean({2, 3})); }
  torch::nn::Conv2d conv{nullptr};
  torch::nn::Linear fc{nullptr};
  torch::Tensor unused;
};
TORCH_MODULE(Net);

std::unique_ptr<torch::optim::Optimizer> make(const std::string& name, Net& net) {
  using namespace torch::optim;
  const auto parameters = net->parameters();
  if (name == "sgd") return std::make_unique<SGD>(parameters, SGDOptions(0.1));
  if (name == "sgd, decay") return std::make_unique<SGD>(parameters, SGDOptions(0.1).weight_decay(0.01));
  if (name == "sgd, momentum")
    return std::make_unique<SGD>(parameters, SGDOptions(0.1).momentum(0.9).weight_decay(0.01));
  if (name == "sgd, dampening")
    return std::make_unique<SGD>(parameters, SGDOptions(0.1).momentum(0.9).dampening(0.3));
  if (name == "sgd, nesterov")
    return std::make_unique<SGD>(parameters, SGDOptions(0.1).momentum(0.9).nesterov(true).weight_decay(0.01));
  if (name == "adamw, no decay")
    return std::make_unique<AdamW>(parameters, AdamWOptions(0.01).weight_decay(0));
  return std::make_unique<AdamW>(parameters, AdamWOptions(0.01));
}

std::vector<at::Tensor> state_of(torch::optim::Optimizer& optimizer, const at::Tensor& parameter) {
  const auto found = optimizer.state().find(parameter.unsafeGetTensorImpl());
  if (found == optimizer.state().end()) return {};
  if (auto* sgd = dynamic_cast<torch::optim::SGDParamState*>(found->second.get()))
    return {sgd->momentum_buffer()};
  auto& adam = dynamic_cast<torch::optim::AdamWParamState&>(*found->second);
  return {adam.exp_avg(), adam.exp_avg_sq(), torch::tensor(adam.step())};
}

// Trains for some steps; by itself the session takes the one pass, given a stepper it cannot.
struct Run {
  Run(const std::string& name, bool one_pass) {
    torch::manual_seed(41);
    net = Net();
    optimizer = make(name, net);
    Recipe recipe;
    recipe.add<ConstantPruning>();
    Session session(recipe, *net, *optimizer, 100);
    for (int i = 0; i < 6; ++i) {
      const auto images = torch::randn({4, 8, 6, 6});
      auto step = session.begin_step();
      optimizer->zero_grad();
      step.loss(step.forward([&] { return net->forward(images); }).square().sum()).backward();
      if (one_pass)
        step.optimize();
      else
        step.optimize([&] { optimizer->step(); });
    }
  }
  Net net{nullptr};
  std::unique_ptr<torch::optim::Optimizer> optimizer;
};

}  // namespace

TEST_CASE(
    "one pass over weight, gradient, state and mask gives what the optimizer and masks give, to the bit") {
  const std::string name = GENERATE("sgd", "sgd, decay", "sgd, momentum", "sgd, dampening", "sgd, nesterov",
                                    "adamw", "adamw, no decay");
  INFO(name);
  Run fast(name, true), plain(name, false);
  const auto expected = plain.net->parameters(), found = fast.net->parameters();
  for (std::size_t i = 0; i < expected.size(); ++i) {
    INFO("parameter " << i << ", largest difference " << (found[i] - expected[i]).abs().max().item<float>());
    CHECK(torch::equal(found[i], expected[i]));
    const auto state = state_of(*plain.optimizer, expected[i]), other = state_of(*fast.optimizer, found[i]);
    REQUIRE(state.size() == other.size());
    for (std::size_t s = 0; s < state.size(); ++s)
      if (state[s].defined()) CHECK(torch::equal(state[s], other[s]));
  }
  CHECK(fast.net->conv->weight.eq(0).to(torch::kDouble).mean().item<double>() > 0.5);
}

TEST_CASE("where the one pass does not apply, the optimizer's own step is taken") {
  using namespace torch::optim;
  torch::manual_seed(42);
  Net net;
  const auto run = [&](Optimizer& optimizer) {
    Recipe recipe;
    recipe.add<ConstantPruning>();
    Session session(recipe, *net, optimizer, 100);
    const auto zeros = net->conv->weight.eq(0), before = net->conv->weight.detach().clone();
    auto step = session.begin_step();
    optimizer.zero_grad();
    const auto type = net->conv->weight.scalar_type();
    step.forward([&] { return net->forward(torch::randn({2, 8, 6, 6}).to(type)); }).square().sum().backward();
    step.optimize();
    CHECK_FALSE(torch::equal(net->conv->weight, before));
    CHECK(torch::equal(net->conv->weight.eq(0), zeros));
  };
  AdamW amsgrad(net->parameters(), AdamWOptions(0.01).amsgrad(true));
  run(amsgrad);
  RMSprop other(net->parameters(), RMSpropOptions(0.001));
  run(other);
  net->to(torch::kDouble);
  SGD doubles(net->parameters(), SGDOptions(0.1));
  run(doubles);
}
