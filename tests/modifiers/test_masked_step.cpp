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

enum class How {
  kSession,    // the session's own way
  kOnePass,    // the one pass and nothing else
  kOptimizer,  // LibTorch's step between two maskings
};

// Trains for some steps.
struct Run {
  Run(const std::string& name, How how) {
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
      if (how == How::kSession)
        step.optimize();
      else if (how == How::kOnePass)
        step.optimize([&] { REQUIRE(session.state().optimizer_access.masked_step(session.masks())); });
      else
        step.optimize([&] { optimizer->step(); });
    }
  }
  Net net{nullptr};
  std::unique_ptr<torch::optim::Optimizer> optimizer;
};

void check_equal(Run& found, Run& expected) {
  const auto parameters = found.net->parameters(), others = expected.net->parameters();
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    INFO("parameter " << i << ", largest difference "
                      << (parameters[i] - others[i]).abs().max().item<float>());
    CHECK(torch::equal(parameters[i], others[i]));
    const auto state = state_of(*found.optimizer, parameters[i]),
               other = state_of(*expected.optimizer, others[i]);
    REQUIRE(state.size() == other.size());
    for (std::size_t s = 0; s < state.size(); ++s)
      if (state[s].defined()) CHECK(torch::equal(state[s], other[s]));
  }
}

}  // namespace

TEST_CASE(
    "one pass over weight, gradient, state and mask gives what the optimizer and masks give, to the bit") {
  const std::string name = GENERATE("sgd", "sgd, decay", "sgd, momentum", "sgd, dampening", "sgd, nesterov",
                                    "adamw", "adamw, no decay");
  INFO(name);
  Run one_pass(name, How::kOnePass), session(name, How::kSession), plain(name, How::kOptimizer);
  check_equal(one_pass, plain);
  check_equal(session, plain);
  CHECK(one_pass.net->conv->weight.eq(0).to(torch::kDouble).mean().item<double>() > 0.5);
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
    CHECK_FALSE(session.state().optimizer_access.masked_step(session.masks()));
    CHECK(torch::equal(net->conv->weight, before));
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

namespace {

// One weight's buffers under LibTorch's optimizer, and copies of them for our plain arithmetic.
struct PlainRun {
  explicit PlainRun(bool masked) {
    torch::manual_seed(43);
    theirs = torch::randn({1001}).requires_grad_();
    if (masked) mask = torch::rand({1001}) > 0.6;
    if (masked) theirs.detach().mul_(mask);
    ours = theirs.detach().clone();
  }

  // The gradient of one step, which both sides get.
  void next_gradient() {
    gradient = torch::randn_like(ours);
    theirs.mutable_grad() = mask.defined() ? gradient * mask : gradient.clone();
  }
  void step(torch::optim::Optimizer& optimizer) {
    optimizer.step();
    if (mask.defined()) theirs.detach().mul_(mask);
  }
  sparsify::detail::MaskedSpan span() {
    return {ours.mutable_data_ptr<float>(),
            gradient.const_data_ptr<float>(),
            mask.defined() ? mask.const_data_ptr<bool>() : nullptr,
            first.mutable_data_ptr<float>(),
            second.mutable_data_ptr<float>(),
            ours.numel()};
  }
  void check() const {
    CHECK(torch::allclose(ours, theirs.detach(), 1e-5, 1e-6));
    if (mask.defined()) CHECK(ours.masked_select(mask.logical_not()).eq(0).all().item<bool>());
  }

  torch::Tensor theirs, ours, gradient, mask, first = torch::zeros({1001}), second = torch::zeros({1001});
};

}  // namespace

TEST_CASE("without fused multiply-adds SGD steps as LibTorch does, but for rounding") {
  const bool masked = GENERATE(false, true), momentum = GENERATE(false, true),
             nesterov = GENERATE(false, true);
  CAPTURE(masked, momentum, nesterov);
  if (nesterov && !momentum) return;
  PlainRun run(masked);
  const float m = momentum ? 0.9F : 0.F, dampening = momentum && !nesterov ? 0.3F : 0.F;
  torch::optim::SGD sgd(
      {run.theirs},
      torch::optim::SGDOptions(0.1).momentum(m).dampening(dampening).nesterov(nesterov).weight_decay(0.05));
  for (int i = 0; i < 6; ++i) {
    run.next_gradient();
    run.step(sgd);
    const sparsify::detail::SGDNumbers numbers{0.1F, m, 1 - dampening, 0.05F, nesterov, i == 0};
    auto span = run.span();
    if (!momentum) span.first = nullptr;
    sparsify::detail::with_kind(span, numbers, [&](auto kind) {
      sparsify::detail::sgd_span<false, decltype(kind)>(span, 0, span.count, numbers);
    });
    run.check();
  }
}

TEST_CASE("without fused multiply-adds AdamW steps as LibTorch does, but for rounding") {
  const bool masked = GENERATE(false, true);
  CAPTURE(masked);
  PlainRun run(masked);
  torch::optim::AdamW adamw({run.theirs}, torch::optim::AdamWOptions(0.01).weight_decay(0.05));
  for (int i = 1; i <= 6; ++i) {
    run.next_gradient();
    run.step(adamw);
    const sparsify::detail::AdamWNumbers numbers{1 - 0.01F * 0.05F,
                                                 0.9F,
                                                 0.1F,
                                                 0.999F,
                                                 0.001F,
                                                 static_cast<float>(std::sqrt(1 - std::pow(0.999, i))),
                                                 1e-8F,
                                                 static_cast<float>(0.01 / (1 - std::pow(0.9, i)))};
    const auto span = run.span();
    if (masked)
      sparsify::detail::adamw_span<false, true>(span, 0, span.count, numbers);
    else
      sparsify::detail::adamw_span<false, false>(span, 0, span.count, numbers);
    run.check();
  }
}
