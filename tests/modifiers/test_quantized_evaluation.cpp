// SPDX-License-Identifier: Apache-2.0
// Evaluation in integers of networks that are not written as usual: without gradients it computes the
// integers of engines, with them it rounds values, and the two differ by a few steps of a grid at most.
#include <torch/torch.h>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <limits>
#include <optional>

#include "autocast.hpp"
#include "quantized_by_hand.hpp"
#include "sparsify/session.hpp"

using namespace sparsify;
using namespace sparsify::test;
using Catch::Matchers::ContainsSubstring;
namespace nn = torch::nn;

namespace {

/// Observes `images` for a few steps that change no weight.
template <class Net>
struct Observed {
  Observed(Net& net, const at::Tensor& images, const std::string& scheme = "cpu")
      : net(net),
        images(images),
        optimizer(net.parameters(), 0.0),
        session(quantize(scheme), net, optimizer, 4) {
    for (int i = 0; i < 3; ++i) {
      auto step = session.begin_step();
      step.forward([&] { return net.forward(images); });
      step.optimize();
    }
    net.eval();
  }
  auto evaluate(bool gradients) {
    const at::AutoGradMode mode(gradients);
    return session.evaluate([&] { return net.forward(images); });
  }

  Net& net;
  at::Tensor images;
  torch::optim::SGD optimizer;
  Session session;
};

void check_near(const at::Tensor& a, const at::Tensor& b, double part = 0.03) {
  REQUIRE(a.sizes() == b.sizes());
  CHECK((a - b).abs().max().item<double>() < part * b.abs().max().item<double>());
}

// Gives what its layers read, too: a block's sum, a linear layer's output; and keeps a feature map.
struct ManyResults : nn::Module {
  ManyResults() {
    register_module("a", a), register_module("norm", norm), register_module("b", b);
    register_module("c", c), register_module("d", d), register_module("e", e);
  }
  std::vector<at::Tensor> forward(const at::Tensor& x) {
    kept = torch::relu(norm(a(x)));
    const auto sum = torch::relu(b(kept) + kept);
    const auto pooled = torch::max_pool2d(sum, 2);
    const auto hidden = torch::relu(d(c(pooled).mean({2, 3})));
    return {e(hidden), sum, pooled, hidden};
  }
  nn::Conv2d a{nn::Conv2dOptions(3, 8, 3).padding(1).bias(false)}, b{nn::Conv2dOptions(8, 8, 3).padding(1)},
      c{nn::Conv2dOptions(8, 8, 3)};
  nn::BatchNorm2d norm{8};
  nn::Linear d{8, 6}, e{6, 3};
  at::Tensor kept;
};

// As detectors freeze it.
struct BufferNorm : nn::Module {
  BufferNorm() {
    register_buffer("weight", weight), register_buffer("bias", bias);
    register_buffer("running_mean", mean), register_buffer("running_var", variance);
  }
  at::Tensor forward(const at::Tensor& x) {
    return torch::batch_norm(x, weight, bias, mean, variance, false, 0.1, 1e-5, false);
  }
  at::Tensor weight = torch::rand({8}) + 2, bias = torch::rand({8}) + 1, mean = torch::randn({8}) * 0.1,
             variance = torch::rand({8}) + 0.5;
};

// A batch norm of buffers, and a bias that the pass computes.
struct Frozen : nn::Module {
  Frozen() {
    register_module("conv", conv), register_module("bn", bn);
    register_module("computed", computed), register_module("fc", fc);
  }
  at::Tensor forward(const at::Tensor& x) {
    auto y = torch::relu(bn->forward(conv(x)));
    y = torch::relu(torch::conv2d(y, computed->weight, computed->bias * 3 + 1));
    return fc(y.mean({2, 3}));
  }
  nn::Conv2d conv{nn::Conv2dOptions(3, 8, 3).bias(false)}, computed{nn::Conv2dOptions(8, 8, 3)};
  nn::Linear fc{8, 4};
  std::shared_ptr<BufferNorm> bn = std::make_shared<BufferNorm>();
};

struct Plain : nn::Module {
  Plain() { register_module("a", a), register_module("b", b), register_module("fc", fc); }
  at::Tensor forward(const at::Tensor& x) {
    const auto y = torch::relu(b(torch::relu(a(x))));
    return fc(y.flatten(-2).mean(-1));
  }
  nn::Conv2d a{nn::Conv2dOptions(3, 8, 3)}, b{nn::Conv2dOptions(8, 8, 3)};
  nn::Linear fc{8, 4};
};

// In training one of its blocks is left out at random.
struct Dropping : nn::Module {
  Dropping() { register_module("a", a), register_module("block", block), register_module("fc", fc); }
  at::Tensor forward(const at::Tensor& x) {
    auto y = torch::relu(a(x));
    if (!drops || !is_training()) y = torch::relu(block(y) + y);
    return fc(y.mean({2, 3}));
  }
  nn::Conv2d a{nn::Conv2dOptions(3, 8, 3)}, block{nn::Conv2dOptions(8, 8, 3).padding(1)};
  nn::Linear fc{8, 4};
  bool drops = false;
};

}  // namespace

TEST_CASE("what a pass returns or keeps are values, though layers read their integers") {
  torch::manual_seed(1);
  ManyResults net;
  Observed<ManyResults> observed(net, torch::randn({4, 3, 10, 10}));
  const auto expected = observed.evaluate(true);
  const auto expected_kept = net.kept.detach();
  const auto actual = observed.evaluate(false);
  REQUIRE(actual.size() == expected.size());
  for (std::size_t i = 0; i < actual.size(); ++i) {
    CAPTURE(i);
    check_near(actual[i], expected[i].detach());
  }
  check_near(net.kept, expected_kept);
}

TEST_CASE("in bfloat16 training what a pass returns are values, though layers multiply integers") {
  torch::manual_seed(1);
  ManyResults net;
  const auto scheme = GENERATE("cpu", "gpu");
  Observed<ManyResults> observed(net, torch::randn({4, 3, 10, 10}), scheme);
  net.train();
  const auto train = [&](bool in_bfloat16) {
    const auto step = observed.session.begin_step();
    if (!in_bfloat16) return step.forward([&] { return net.forward(observed.images); });
    const Autocast autocast(at::kBFloat16);
    return step.forward([&] { return net.forward(observed.images); });
  };
  const auto expected = train(false), actual = train(true);
  for (std::size_t i = 0; i < actual.size(); ++i) {
    CAPTURE(i);
    check_near(actual[i].detach().to(at::kFloat), expected[i].detach(), 0.05);
  }
}

TEST_CASE("a frozen batch norm's buffers and a computed bias take part in evaluation") {
  torch::manual_seed(2);
  Frozen net;
  Observed<Frozen> observed(net, torch::randn({4, 3, 10, 10}));
  const auto expected = observed.evaluate(true).detach();
  check_near(observed.evaluate(false), expected);
  CHECK(observed.session.find<Quantization>()->plan().weights[0].batch_norm == "bn");
  net.eval();
  const torch::NoGradGuard no_grad;
  check_near(expected, net.forward(observed.images), 0.1);
}

TEST_CASE("an image without the dimension of batches is evaluated, and trained in bfloat16") {
  torch::manual_seed(3);
  Plain net;
  Observed<Plain> observed(net, torch::randn({3, 10, 10}));
  const auto expected = observed.evaluate(true).detach();
  check_near(observed.evaluate(false), expected);
  const Autocast autocast(at::kBFloat16);
  const auto step = observed.session.begin_step();
  check_near(step.forward([&] { return net.forward(observed.images); }).detach().to(at::kFloat), expected,
             0.1);
}

TEST_CASE("evaluation under autocast rounds values in the type that it chooses") {
  torch::manual_seed(4);
  Plain net;
  Observed<Plain> observed(net, torch::randn({4, 3, 10, 10}) * 30);
  const auto expected = observed.evaluate(false);
  for (const auto type : {at::kHalf, at::kBFloat16}) {
    CAPTURE(type);
    const Autocast autocast(type);
    check_near(observed.evaluate(false).to(at::kFloat), expected, 0.05);
  }
}

TEST_CASE("a block left out in some training steps keeps its ranges, and is there in evaluation") {
  torch::manual_seed(5);
  Dropping net;
  Observed<Dropping> observed(net, torch::randn({4, 3, 10, 10}));
  const auto whole = observed.evaluate(false);
  net.train(), net.drops = true;
  for (int i = 0; i < 3; ++i) {
    const auto step = observed.session.begin_step();
    step.loss(step.forward([&] { return net.forward(observed.images); }).square().sum()).backward();
    step.optimize();
  }
  net.eval();
  check_near(observed.evaluate(false), whole, 0.05);
}

TEST_CASE("a rounded training step with infinite values says so and leaves the ranges") {
  torch::manual_seed(6);
  const bool in_bfloat16 = GENERATE(false, true);
  ManyResults net;
  Observed<ManyResults> observed(net, torch::randn({4, 3, 10, 10}));
  const auto before = observed.session.state_dict();
  net.train();
  auto broken = observed.images.clone();
  broken[0][0][0][0] = std::numeric_limits<float>::infinity();
  {
    std::optional<Autocast> autocast;
    if (in_bfloat16) autocast.emplace(at::kBFloat16);
    const auto step = observed.session.begin_step();
    step.forward([&] { return net.forward(broken); });
  }
  const auto& notes = observed.session.state().notes;
  CHECK(std::any_of(notes.begin(), notes.end(),
                    [](const std::string& note) { return note.find("infinite values") != note.npos; }));
  const auto after = observed.session.state_dict();
  const auto ranges = after.at("modifiers.0.ranges");
  CHECK(ranges.isfinite().all().item<bool>());
  CHECK(torch::equal(ranges[0], before.at("modifiers.0.ranges")[0]));
}

TEST_CASE("evaluation that returns what training computed together with something else is an error") {
  torch::manual_seed(7);
  struct Fused : nn::Module {
    Fused() { register_module("conv", conv), register_module("norm", norm), register_module("fc", fc); }
    std::vector<at::Tensor> forward(const at::Tensor& x) {
      const auto sums = conv(x), normal = norm(sums);
      const auto logits = fc(torch::relu(normal).mean({2, 3}));
      if (is_training()) return {logits};
      return {logits, returns_norm ? normal : sums};
    }
    nn::Conv2d conv{nn::Conv2dOptions(3, 8, 3)};
    nn::BatchNorm2d norm{8};
    nn::Linear fc{8, 4};
    bool returns_norm = true;
  } net;
  Observed<Fused> observed(net, torch::randn({4, 3, 10, 10}));
  CHECK_THROWS_WITH(observed.evaluate(false), ContainsSubstring("returned, where it was not"));
  net.returns_norm = false;
  CHECK_THROWS_WITH(observed.evaluate(false), ContainsSubstring("returned, where it was not"));
}

TEST_CASE("what a pass returns and a layer reads is rounded in evaluation, as an exported file gives it") {
  torch::manual_seed(8);
  struct Leaky : nn::Module {
    Leaky() { register_module("conv", conv), register_module("next", next), register_module("fc", fc); }
    std::vector<at::Tensor> forward(const at::Tensor& x) {
      const auto y = torch::leaky_relu(conv(x), 0.1);
      return {fc(torch::relu(next(y)).mean({2, 3})), y};
    }
    nn::Conv2d conv{nn::Conv2dOptions(3, 8, 3)}, next{nn::Conv2dOptions(8, 4, 3)};
    nn::Linear fc{4, 2};
  } net;
  Observed<Leaky> observed(net, torch::randn({4, 3, 10, 10}));
  const auto trained = observed.session.find<Quantization>()->trained(observed.session.state());
  const auto& activations = trained.plan.activations;
  const auto found = std::find_if(activations.begin(), activations.end(), [](const ActivationQuantizer& a) {
    return a.site.find("leaky_relu") != a.site.npos;
  });
  REQUIRE(found != activations.end());
  const auto scale = trained.activations[static_cast<std::size_t>(found - activations.begin())].scale;
  const auto steps = observed.evaluate(false)[1] / scale;
  CHECK((steps - steps.round()).abs().max().item<double>() < 1e-3);
}

TEST_CASE("submodules may name modules without parameters, as SparseML's recipes do, but not those alone") {
  auto net = nn::Sequential(nn::Conv2d(3, 8, 3), nn::ReLU(), nn::Conv2d(8, 8, 3), nn::Flatten(),
                            nn::Linear(8 * 36, 4));
  torch::optim::SGD optimizer(net->parameters(), 0.0);
  const auto quantized = [&](const std::vector<std::string>& submodules) {
    Recipe recipe;
    Quantization::Options options;
    options.submodules = submodules;
    recipe.add<Quantization>(options);
    Session session(recipe, *net, optimizer, 1);
    const auto images = torch::randn({2, 3, 10, 10});
    session.begin_step().forward([&] { return net->forward(images); });
    std::vector<std::string> sites;
    for (const auto& weight : session.find<Quantization>()->plan().weights) sites.push_back(weight.site);
    return sites;
  };
  CHECK(quantized({"0", "1", "2", "3"}) == std::vector<std::string>{"0.weight", "2.weight"});
  CHECK_THROWS_WITH(quantized({"1", "3"}), ContainsSubstring("none of these modules has a layer"));
  CHECK_THROWS_WITH(quantized({"0", "17"}), ContainsSubstring("'17' matches no parameter"));
}
