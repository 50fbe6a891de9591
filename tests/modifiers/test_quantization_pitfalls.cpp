// SPDX-License-Identifier: Apache-2.0
// What broke when rounding under the feet of a model was first tried.
#include <dlfcn.h>
#include <torch/torch.h>

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <thread>

#include "autocast.hpp"
#include "quantized_by_hand.hpp"
#include "sparsify/modifiers/magnitude_pruning.hpp"
#include "sparsify/session.hpp"

using namespace sparsify;
using namespace sparsify::test;
using Catch::Approx;
using Catch::Matchers::ContainsSubstring;
namespace nn = torch::nn;

namespace {

bool mode_is_on() { return c10::impl::tls_local_dispatch_key_set().included_.has(kModeKey); }

// Two steps at learning rate 0: one is recorded, one observed.
template <class Run>
void warm_up(Session& session, const Run& run) {
  for (int i = 0; i < 2; ++i) {
    auto step = session.begin_step();
    step.forward(run);
    step.optimize();
  }
}

struct Activated : nn::Module {
  explicit Activated(bool in_place) : in_place(in_place) {
    register_module("a", a), register_module("b", b), register_module("c", c);
  }
  at::Tensor forward(const at::Tensor& image) {
    auto x = a(image);
    if (in_place) {
      torch::leaky_relu_(x, 0.1);
      auto y = b(x);
      torch::silu_(y);
      y += x;
      torch::relu_(y);
      return c(y).flatten(1).softmax(1);
    }
    x = torch::leaky_relu(x, 0.1);
    auto y = torch::relu(torch::silu(b(x)) + x);
    return c(y).flatten(1).softmax(1);
  }
  bool in_place;
  nn::Conv2d a{nn::Conv2dOptions(3, 6, 3).padding(1)}, b{nn::Conv2dOptions(6, 6, 3).padding(torch::kSame)},
      c{nn::Conv2dOptions(6, 2, 3).padding(torch::kValid)};
};

}  // namespace

TEST_CASE("torch::nn::Linear never calls aten::linear, and is quantized all the same") {
  torch::manual_seed(1);
  const bool three_dimensions = GENERATE(false, true);
  nn::Sequential net(nn::Linear(6, 5), nn::ReLU(), nn::Linear(5, 4));
  torch::optim::SGD optimizer(net->parameters(), 0.0);
  Session session(quantize(), *net, optimizer, 1);
  const auto x = three_dimensions ? torch::randn({3, 7, 6}) : torch::randn({9, 6});
  warm_up(session, [&] { return net->forward(x); });
  const auto trained = session.find<Quantization>()->trained(session.state());
  REQUIRE(trained.weights.size() == 2);
  CHECK(trained.plan.weights[1].bias == "2.bias");
  auto p = net->named_parameters();
  const auto layer = [&](int i, const std::string& name, const at::Tensor& input) {
    const auto& by = trained.activations[i];
    return torch::linear(rounded(input, by), rounded_weight(p[name + ".weight"], trained.weights[i]),
                         rounded_bias(p[name + ".bias"], by, trained.weights[i]));
  };
  const torch::NoGradGuard no_grad;
  const auto expected = layer(1, "2", layer(0, "0", x).relu());
  const auto result = session.evaluate([&] { return net->forward(x); });
  CHECK(torch::allclose(result, expected, 1e-5, 1e-6));
  CHECK_FALSE(torch::allclose(result, net->forward(x), 1e-5, 1e-4));
}

TEST_CASE(
    "in-place idioms give the values and gradients of their out-of-place forms, in all padding overloads") {
  at::Tensor outputs[2], gradients[2];
  for (const bool in_place : {false, true}) {
    torch::manual_seed(2);
    Activated net(in_place);
    torch::optim::SGD optimizer(net.parameters(), 0.0);
    Session session(quantize(), net, optimizer, 1);
    const auto image = torch::randn({2, 3, 6, 6});
    warm_up(session, [&] { return net.forward(image); });
    CHECK(session.find<Quantization>()->plan().weights.size() == 3);
    auto step = session.begin_step();
    auto result = step.forward([&] { return net.forward(image); });
    result.square().sum().backward();
    outputs[in_place] = result.detach();
    gradients[in_place] = net.a->weight.grad().clone();
    step.optimize();
    session.finish();
    const auto evaluated = session.evaluate([&] { return net.forward(image); });
    CHECK(torch::allclose(evaluated, result, 1e-3, 1e-3));
  }
  CHECK(torch::equal(outputs[0], outputs[1]));
  CHECK(torch::allclose(gradients[0], gradients[1], 1e-5, 1e-7));
  CHECK(gradients[0].abs().max().item<float>() > 0);
}

TEST_CASE("a silu of the CPU scheme rounds its sigmoid, as integer engines do") {
  torch::manual_seed(3);
  struct Net : nn::Module {
    Net() { register_module("a", a), register_module("b", b); }
    at::Tensor forward(const at::Tensor& x) { return b(torch::silu(a(x))).flatten(1).relu(); }
    nn::Conv2d a{nn::Conv2dOptions(3, 4, 1)}, b{nn::Conv2dOptions(4, 4, 1)};
  } net;
  torch::optim::SGD optimizer(net.parameters(), 0.0);
  Session session(quantize(), net, optimizer, 1);
  const auto image = torch::randn({2, 3, 5, 5});
  warm_up(session, [&] { return net.forward(image); });
  const auto t = session.find<Quantization>()->trained(session.state());
  REQUIRE(t.plan.activations.size() == 5);
  const torch::NoGradGuard no_grad;
  const auto a =
      rounded(torch::conv2d(rounded(image, t.activations[0]), rounded_weight(net.a->weight, t.weights[0]),
                            rounded_bias(net.a->bias, t.activations[0], t.weights[0])),
              t.activations[1]);
  const int product = t.plan.weights[1].input, gate = product + 1;
  CHECK(t.plan.activations[gate].site == "a.weight/silu#0.sigmoid");
  const auto s = rounded(a * rounded(a.sigmoid(), t.activations[gate]), t.activations[product]);
  const auto b = torch::conv2d(s, rounded_weight(net.b->weight, t.weights[1]),
                               rounded_bias(net.b->bias, t.activations[product], t.weights[1]));
  const auto result = session.evaluate([&] { return net.forward(image); });
  CHECK(torch::allclose(result, rounded(b, t.activations[4]).relu().flatten(1), 1e-5, 1e-5));
}

TEST_CASE("only the forward pass is watched: not backward, not the loss, not the optimizer") {
  Activated net(true);
  torch::optim::Adam optimizer(net.parameters(), 1e-3);
  Session session(quantize(), net, optimizer, 1);
  bool on_in_backward = false, on_in_forward = false;
  for (int i = 0; i < 3; ++i) {
    auto step = session.begin_step();
    CHECK_FALSE(mode_is_on());
    auto result = step.forward([&] {
      on_in_forward = mode_is_on();
      return net.forward(torch::randn({2, 3, 6, 6}));
    });
    CHECK(on_in_forward);
    CHECK_FALSE(mode_is_on());
    result.register_hook([&](const at::Tensor& gradient) {
      on_in_backward = on_in_backward || mode_is_on();
      return gradient;
    });
    step.loss(result.sum()).backward();
    step.optimize([&] {
      CHECK_FALSE(mode_is_on());
      optimizer.step();
    });
  }
  CHECK_FALSE(on_in_backward);
}

TEST_CASE("a teacher in the forward pass stays float, and does not shift the student's sites") {
  torch::manual_seed(4);
  Activated student(true), teacher(true);
  nn::Linear adviser(4, 3);
  torch::optim::SGD optimizer(student.parameters(), 0.0);
  Session session(quantize(), student, optimizer, 1);
  const auto image = torch::randn({2, 3, 6, 6}), vector = torch::randn({2, 4});
  const auto expected = teacher.forward(image), advice = adviser(vector);
  bool teach = true;
  const auto run = [&] {
    if (teach) {
      CHECK(torch::equal(teacher.forward(image), expected));
      CHECK(torch::equal(adviser(vector), advice));
    }
    auto result = student.forward(image);
    if (teach) CHECK(torch::equal(teacher.forward(image), expected));
    return result;
  };
  warm_up(session, run);
  CHECK(session.find<Quantization>()->plan().activations[0].site == "input#0");
  const auto with = session.evaluate(run);
  teach = false;
  CHECK(torch::equal(session.evaluate(run), with));
  session.finish();
}

TEST_CASE(
    "an averaged copy is validated with the same quantizers, and left alone inside the model's own pass") {
  torch::manual_seed(5);
  auto net = std::make_shared<Activated>(true), copy = std::make_shared<Activated>(true);
  torch::optim::SGD optimizer(net->parameters(), 0.0);
  Session session(quantize(), *net, optimizer, 1);
  const auto image = torch::randn({2, 3, 6, 6});
  warm_up(session, [&] { return net->forward(image); });
  const torch::NoGradGuard no_grad;
  const auto floating = copy->forward(image);
  const auto own = session.evaluate([&] { return net->forward(image); });
  const auto evaluated = session.evaluate(*copy, [&] { return copy->forward(image); });
  CHECK_FALSE(torch::equal(evaluated, floating));
  CHECK(torch::allclose(evaluated, floating, 0.2, 0.05));
  session.evaluate([&] {
    CHECK(torch::equal(copy->forward(image), floating));
    return net->forward(image);
  });
  for (auto& p : copy->named_parameters()) p.value().copy_(net->named_parameters()[p.key()]);
  CHECK(torch::equal(session.evaluate(*copy, [&] { return copy->forward(image); }), own));
}

TEST_CASE("a forward pass in another thread, or of another model, is an error and not a float model") {
  Activated net(true), other(true);
  torch::optim::SGD optimizer(net.parameters(), 0.0);
  Session session(quantize(), net, optimizer, 1);
  const auto image = torch::randn({2, 3, 6, 6});
  warm_up(session, [&] { return net.forward(image); });
  CHECK_THROWS_WITH(session.evaluate([&] { std::thread([&] { net.forward(image); }).join(); }),
                    ContainsSubstring("thread that called step.forward"));
  CHECK_THROWS_WITH(session.evaluate([&] { other.forward(image); }),
                    ContainsSubstring("none of the quantized layers"));
  CHECK_NOTHROW(session.evaluate([&] { net.forward(image); }));
}

TEST_CASE("images may be bytes, or made inside the pass") {
  nn::Sequential net(nn::Conv2d(3, 4, 3), nn::ReLU(), nn::Flatten(), nn::Linear(4 * 16, 2));
  torch::optim::SGD optimizer(net->parameters(), 0.0);
  const auto bytes = torch::randint(0, 256, {2, 3, 6, 6}, at::kByte);
  const bool made = GENERATE(false, true);
  Session session(quantize(), *net, optimizer, 1);
  const auto run = [&] {
    return net->forward(made ? torch::rand({2, 3, 6, 6}) : bytes.to(at::kFloat).div(255));
  };
  warm_up(session, run);
  session.finish();
  const auto& plan = session.find<Quantization>()->plan();
  CHECK(plan.activations[0].site == (made ? "input/rand#0" : "input/div#0"));
  CHECK(plan.weights.size() == 2);
  CHECK(plan.unquantized.empty());
}

TEST_CASE("a layer that the recorded pass did not use is named") {
  struct Net : nn::Module {
    Net() { register_module("a", a), register_module("extra", extra); }
    at::Tensor forward(const at::Tensor& x) { return use_extra ? extra(a(x)) : a(x); }
    bool use_extra = false;
    nn::Linear a{4, 4}, extra{4, 4};
  } net;
  torch::optim::SGD optimizer(net.parameters(), 0.0);
  Session session(quantize(), net, optimizer, 1);
  const auto x = torch::randn({2, 4});
  warm_up(session, [&] { return net.forward(x); });
  net.use_extra = true;
  auto step = session.begin_step();
  CHECK_THROWS_WITH(step.forward([&] { return net.forward(x); }), ContainsSubstring("extra.weight"));
  CHECK_FALSE(mode_is_on());
  net.use_extra = false;
  CHECK_NOTHROW(step.forward([&] { return net.forward(x); }));
}

TEST_CASE("an exception in the forward pass changes no quantizer and leaves everything usable") {
  torch::manual_seed(6);
  Activated net(true);
  torch::optim::SGD optimizer(net.parameters(), 0.0);
  Session session(quantize(), net, optimizer, 1);
  const auto image = torch::randn({2, 3, 6, 6});
  warm_up(session, [&] { return net.forward(image); });
  const auto before = session.find<Quantization>()->trained(session.state());
  auto step = session.begin_step();
  CHECK_THROWS_AS(step.forward([&] {
    net.forward(image * 100);
    throw std::runtime_error("data loader failed");
  }),
                  std::runtime_error);
  CHECK_FALSE(mode_is_on());
  CHECK_THROWS(step.forward([&] { return net.forward(torch::randn({2, 4, 6, 6})); }));
  const auto after = session.find<Quantization>()->trained(session.state());
  for (std::size_t i = 0; i < before.activations.size(); ++i)
    CHECK(torch::equal(before.activations[i].scale, after.activations[i].scale));
  CHECK_NOTHROW(step.forward([&] { return net.forward(image); }));
}

TEST_CASE("bfloat16 autocast: weights are rounded from their full precision, gradients arrive in it") {
  torch::manual_seed(7);
  Activated net(true);
  torch::optim::SGD optimizer(net.parameters(), 0.0);
  Session session(quantize(), net, optimizer, 1);
  const auto image = torch::randn({4, 3, 6, 6}).contiguous(at::MemoryFormat::ChannelsLast);
  const auto autocast_forward = [&] {
    const Autocast autocast(at::kBFloat16);
    return net.forward(image);
  };
  warm_up(session, autocast_forward);
  auto step = session.begin_step();
  step.forward(autocast_forward).square().sum().backward();
  step.optimize();
  CHECK(net.a->weight.grad().scalar_type() == at::kFloat);
  CHECK(net.a->weight.grad().abs().max().item<float>() > 0);
  const torch::NoGradGuard no_grad;
  const auto exact = session.evaluate([&] { return net.forward(image); });
  const auto coarse = session.evaluate(autocast_forward);
  CHECK(torch::allclose(exact, coarse.to(at::kFloat), 0.1, 0.02));
}

TEST_CASE("a reader without gradients leaves them to the others") {
  struct Net : nn::Module {
    Net() { register_module("a", a), register_module("b", b); }
    at::Tensor forward(const at::Tensor& x) {
      auto y = torch::relu(a(x));
      {
        const torch::NoGradGuard no_grad;
        peeked = y + 0.0;
      }
      return b(y);
    }
    at::Tensor peeked;
    nn::Linear a{4, 4}, b{4, 4};
  } net;
  torch::optim::SGD optimizer(net.parameters(), 0.0);
  Session session(quantize(), net, optimizer, 1);
  const auto x = torch::randn({8, 4});
  warm_up(session, [&] { return net.forward(x); });
  auto step = session.begin_step();
  step.forward([&] { return net.forward(x); }).sum().backward();
  CHECK(net.a->weight.grad().abs().max().item<float>() > 0);
}

TEST_CASE("pruned and quantized: zeros stay, biases of dying channels fit 32 bits") {
  torch::manual_seed(8);
  nn::Sequential net(nn::Conv2d(nn::Conv2dOptions(3, 16, 3).bias(false)), nn::BatchNorm2d(16), nn::ReLU(),
                     nn::Conv2d(nn::Conv2dOptions(16, 8, 3)), nn::ReLU(), nn::Flatten(),
                     nn::Linear(8 * 16, 4));
  torch::optim::SGD optimizer(net->parameters(), torch::optim::SGDOptions(0.05).momentum(0.9));
  Recipe recipe;
  MagnitudePruning::Options pruning;
  pruning.window = {0, 1}, pruning.final_sparsity = 0.9;
  recipe.add<MagnitudePruning>(pruning);
  recipe.add<Quantization>();
  Session session(recipe, *net, optimizer, 8);
  for (int i = 0; i < 12; ++i) {
    auto step = session.begin_step();
    optimizer.zero_grad();
    auto result = step.forward([&] { return net->forward(torch::randn({4, 3, 8, 8})); });
    step.loss(result.square().mean()).backward();
    step.optimize();
  }
  session.finish();
  {
    const torch::NoGradGuard no_grad;
    auto p = net->named_parameters();
    p["0.weight"][2].mul_(1e-14), p["0.weight"][5].zero_();  // one channel nearly dead, one dead
    p["1.bias"][2] = 3, p["1.bias"][5] = 3;
  }
  const auto trained = session.find<Quantization>()->trained(session.state());
  const auto weight = net->named_parameters()["0.weight"].detach();
  const auto mask = session.masks().find("0.weight");
  REQUIRE(mask.defined());
  const auto by = trained.weights[0];
  CHECK((rounded_weight(weight, by).masked_select(mask.logical_not()) == 0).all().item<bool>());
  const auto folded = fold(trained.plan.weights[0], 16, session.state().parameters, session.state().buffers);
  const double input_scale = trained.activations[trained.plan.weights[0].input].scale.item<float>();
  const auto steps = [&](int c) {
    return std::fabs(folded.b[c] / (input_scale * by.scale[c].item<double>() * folded.k[c]));
  };
  for (int c = 0; c < 16; ++c) CHECK(steps(c) <= (1 << 30) * 1.0001);
  CHECK(steps(2) == Approx(1 << 30).epsilon(1e-4));
  CHECK(steps(5) == Approx(1 << 20).epsilon(1e-4));
  const auto image = torch::randn({2, 3, 8, 8});
  CHECK(torch::isfinite(session.evaluate([&] { return net->forward(image); })).all().item<bool>());
}

TEST_CASE("several sessions in one process, interleaved and nested") {
  torch::manual_seed(9);
  const auto image = torch::randn({2, 3, 6, 6});
  std::vector<at::Tensor> alone, together;
  const auto make = [](int seed) {
    torch::manual_seed(seed);
    return std::make_shared<Activated>(true);
  };
  for (int seed : {1, 2}) {
    auto net = make(seed);
    torch::optim::SGD optimizer(net->parameters(), 0.0);
    Session session(quantize(seed == 1 ? "cpu" : "gpu"), *net, optimizer, 1);
    warm_up(session, [&] { return net->forward(image); });
    alone.push_back(session.evaluate([&] { return net->forward(image); }));
  }
  auto first = make(1), second = make(2);
  torch::optim::SGD first_optimizer(first->parameters(), 0.0), second_optimizer(second->parameters(), 0.0);
  Session a(quantize("cpu"), *first, first_optimizer, 1), b(quantize("gpu"), *second, second_optimizer, 1);
  for (int i = 0; i < 2; ++i) {
    auto step_a = a.begin_step();
    auto step_b = b.begin_step();
    step_a.forward([&] { return first->forward(image); });
    step_b.forward([&] { return second->forward(image); });
    step_b.optimize();
    step_a.optimize();
  }
  together.push_back(a.evaluate([&] {
    together.push_back(b.evaluate([&] { return second->forward(image); }));
    return first->forward(image);
  }));
  CHECK(torch::equal(together[1], alone[0]));
  CHECK(torch::equal(together[0], alone[1]));
}

TEST_CASE("two shared libraries that hold the headers quantize in one process, beside this program") {
  const std::string folder = QUANTIZING_LIBRARIES;
  double (*difference[2])() = {};
  void* handles[2] = {};
  for (int i = 0; i < 2; ++i) {
    handles[i] =
        dlopen((folder + "/libquantizing" + std::to_string(i + 1) + ".so").c_str(), RTLD_NOW | RTLD_LOCAL);
    INFO((handles[i] ? "" : dlerror()));
    REQUIRE(handles[i]);
    difference[i] = reinterpret_cast<double (*)()>(dlsym(handles[i], "quantized_difference"));
    REQUIRE(difference[i]);
  }
  for (int round = 0; round < 2; ++round)
    for (auto* function : difference) CHECK(function() > 1e-4);
  Activated net(true);
  torch::optim::SGD optimizer(net.parameters(), 0.0);
  Session session(quantize(), net, optimizer, 1);
  const auto image = torch::randn({2, 3, 6, 6});
  warm_up(session, [&] { return net.forward(image); });
  CHECK_FALSE(torch::equal(session.evaluate([&] { return net.forward(image); }), net.forward(image)));
}

TEST_CASE("inference mode computes what evaluation without gradients does") {
  torch::manual_seed(10);
  Activated net(true);
  torch::optim::SGD optimizer(net.parameters(), 0.0);
  Session session(quantize(), net, optimizer, 1);
  const auto image = torch::randn({2, 3, 6, 6});
  warm_up(session, [&] { return net.forward(image); });
  const auto expected = session.evaluate([&] { return net.forward(image); });
  const c10::InferenceMode inference;
  CHECK(torch::equal(session.evaluate([&] { return net.forward(image.clone()); }), expected));
}

TEST_CASE("an ignored layer that does not exist is found when the recipe is bound") {
  Activated net(true);
  torch::optim::SGD optimizer(net.parameters(), 0.0);
  const auto bind = [&](const std::string& ignored) {
    Recipe recipe;
    Quantization::Options options;
    options.ignore = {ignored};
    recipe.add<Quantization>(options, "r.yaml:3:1");
    Session session(recipe, net, optimizer, 1);
    const auto image = torch::randn({2, 3, 6, 6});
    warm_up(session, [&] { return net.forward(image); });
    return session.find<Quantization>()->summary();
  };
  CHECK_THROWS_WITH(bind("b.weigth"),
                    ContainsSubstring("r.yaml:3:1") && ContainsSubstring("did you mean 'b.weight'"));
  CHECK_THAT(bind("b"),
             ContainsSubstring("2 of 3 layers") && ContainsSubstring("b.weight stays float: ignored"));
  CHECK_THROWS_WITH(bind("Linear"), ContainsSubstring("matches no convolution or linear layer"));
}

TEST_CASE("threads quantize independently of each other") {
  const auto run = [](int seed) {
    torch::manual_seed(seed);
    Activated net(true);
    {
      const torch::NoGradGuard no_grad;
      for (auto& p : net.parameters()) p.fill_(0.01 * seed);
    }
    torch::optim::SGD optimizer(net.parameters(), 0.0);
    Session session(quantize(), net, optimizer, 1);
    const auto image = torch::arange(2 * 3 * 6 * 6).view({2, 3, 6, 6}).to(at::kFloat) / 100;
    warm_up(session, [&] { return net.forward(image); });
    return session.evaluate([&] { return net.forward(image); }).detach();
  };
  const auto first = run(3), second = run(4);
  at::Tensor results[2];
  std::thread a([&] { results[0] = run(3); }), b([&] { results[1] = run(4); });
  a.join(), b.join();
  CHECK(torch::equal(results[0], first));
  CHECK(torch::equal(results[1], second));
}
