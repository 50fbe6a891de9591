// SPDX-License-Identifier: Apache-2.0
// Passes that are not the recorded one, layers used twice, several inputs, and what a step does once.
#include <torch/torch.h>

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <functional>
#include <set>

#include "quantized_by_hand.hpp"
#include "sparsify/session.hpp"

using namespace sparsify;
using namespace sparsify::test;
using Catch::Approx;
using Catch::Matchers::ContainsSubstring;
namespace nn = torch::nn;

namespace {

// A step at a time; the first one of a session is recorded.
template <class Run>
at::Tensor step_with(Session& session, const Run& run) {
  auto step = session.begin_step();
  auto result = step.forward(run);
  step.optimize();
  return result;
}

// Two convolutions with something between them that may depend on the mode.
struct Between : nn::Module {
  using Act = std::function<at::Tensor(at::Tensor x, bool training)>;
  explicit Between(Act act) : act(std::move(act)) { register_module("a", a), register_module("b", b); }
  at::Tensor forward(const at::Tensor& image) {
    return torch::relu(b(act(a(image), is_training()))).flatten(1);
  }
  Act act;
  nn::Conv2d a{nn::Conv2dOptions(3, 4, 3).padding(1)}, b{nn::Conv2dOptions(4, 4, 3).padding(1)};
};

// What such a network gives in evaluation, trained in training mode.
at::Tensor evaluated(const Between::Act& act, const std::string& scheme) {
  torch::manual_seed(1);
  Between net(act);
  torch::optim::SGD optimizer(net.parameters(), 0.0);
  Session session(quantize(scheme), net, optimizer, 1);
  const auto image = torch::randn({2, 3, 6, 6});
  for (int i = 0; i < 2; ++i) step_with(session, [&] { return net.forward(image); });
  net.eval();
  const torch::NoGradGuard no_grad;
  return session.evaluate([&] { return net.forward(image); });
}

}  // namespace

TEST_CASE("an evaluation that reads another tensor than the recorded pass names the place") {
  const std::string scheme = GENERATE("cpu", "gpu");
  CHECK_THROWS_WITH(
      evaluated([](at::Tensor x, bool training) { return training ? torch::relu(x) : torch::tanh(x); },
                scheme),
      ContainsSubstring(
          scheme == "cpu" ? "a.weight: what it gives is read, or returned, where it was not"
                          : "b.weight: its input is not the tensor that the recorded forward pass rounded"));
  CHECK_THROWS_WITH(
      evaluated([](at::Tensor x, bool training) { return training ? torch::relu(x) : torch::relu(x) * 2; },
                scheme),
      ContainsSubstring("b.weight"));
  CHECK_THROWS_WITH(  // the same operators, and one more of a kind before them
      evaluated([](at::Tensor x, bool training) { return torch::relu(training ? x : torch::relu(x).sub(1)); },
                scheme),
      ContainsSubstring("b.weight"));
}

TEST_CASE("an evaluation that only gives rounded values on otherwise is none") {
  const std::string scheme = GENERATE("cpu", "gpu");
  const auto expected = evaluated([](at::Tensor x, bool) { return torch::relu(x); }, scheme);
  using Shape = std::vector<std::int64_t>;
  static at::Tensor kept;
  const auto [what, give_on] = GENERATE(table<std::string, Between::Act>({
      {"dropout", [](at::Tensor x, bool training) { return torch::dropout(x, 1e-9, training); }},
      {"dropout in place", [](at::Tensor x, bool training) { return torch::dropout_(x, 1e-9, training); }},
      {"feature dropout",
       [](at::Tensor x, bool training) { return torch::feature_dropout(x, 1e-9, training); }},
      {"clone", [](at::Tensor x, bool training) { return training ? x : x.clone(); }},
      {"clone, in training", [](at::Tensor x, bool training) { return training ? x.clone() : x; }},
      {"detach", [](at::Tensor x, bool training) { return training ? x : x.detach(); }},
      {"data", [](at::Tensor x, bool training) { return kept = x, training ? x : x.data(); }},
      {"contiguous",
       [](at::Tensor x, bool training) {
         return training ? x : x.contiguous(at::MemoryFormat::ChannelsLast).contiguous();
       }},
      {"another type",
       [](at::Tensor x, bool training) { return training ? x : x.to(at::kDouble).to(at::kFloat); }},
      {"permute",
       [](at::Tensor x,
          bool
              training) { return training ? x : x.permute({0, 2, 3, 1}).contiguous().permute({0, 3, 1, 2}); }},
      {"flatten",
       [](at::Tensor x, bool training) { return training ? x : x.flatten(1).unflatten(1, Shape{4, 6, 6}); }},
      {"view",
       [](at::Tensor x, bool training) { return training ? x : x.view({2, 4, 36}).view({2, 4, 6, 6}); }},
      {"chunk", [](at::Tensor x, bool) { return torch::cat(x.chunk(2, 1), 1); }},
      {"split", [](at::Tensor x, bool) { return torch::cat(x.split(1, 0), 0); }},
      {"slices", [](at::Tensor x, bool) { return torch::cat({x.slice(1, 0, 1), x.slice(1, 1)}, 1); }},
      {"max-pool", [](at::Tensor x, bool) { return torch::max_pool2d(x, 1); }},
      {"padding", [](at::Tensor x,
                     bool) { return torch::constant_pad_nd(x, {0, 1, 0, 1}).slice(2, 0, 6).slice(3, 0, 6); }},
      {"flip", [](at::Tensor x, bool training) { return training ? x : x.flip(3).flip(3); }},
      {"in place", [](at::Tensor x, bool) { return torch::relu_(x); }},
  }));
  CAPTURE(what);
  const auto act = [&, give_on = give_on](at::Tensor x, bool training) {
    return give_on(torch::relu(x), training);
  };
  CHECK(torch::allclose(evaluated(act, scheme), expected, 1e-5, 1e-6));
}

TEST_CASE("images made in the pass and captured ones are rounded alike") {
  torch::manual_seed(8);
  Between net([](at::Tensor x, bool) { return torch::relu(x); });
  torch::optim::SGD optimizer(net.parameters(), 0.0);
  const auto image = torch::randn({2, 3, 6, 6});
  const auto made = [&] { return net.forward(torch::stack({image[0], image[1]})); };
  const auto captured = [&] { return net.forward(image); };
  const bool trains_captured = GENERATE(false, true);
  Session session(quantize(), net, optimizer, 1);
  for (int i = 0; i < 2; ++i) trains_captured ? step_with(session, captured) : step_with(session, made);
  const torch::NoGradGuard no_grad;
  CHECK(torch::equal(session.evaluate(captured), session.evaluate(made)));
}

TEST_CASE("a convolution used twice: each use has its input's grid, and its bias one of its own") {
  torch::manual_seed(2);
  struct Net : nn::Module {
    Net() { register_module("conv", conv); }
    at::Tensor forward(const at::Tensor& x) { return torch::relu(conv(torch::relu(conv(x)))).flatten(1) * 1; }
    nn::Conv2d conv{nn::Conv2dOptions(3, 3, 1)};
  } net;
  torch::optim::SGD optimizer(net.parameters(), 0.01);
  Session session(quantize(), net, optimizer, 4);
  const auto image = torch::randn({2, 3, 6, 6}) * 4;
  for (int i = 0; i < 8; ++i) {
    auto step = session.begin_step();
    optimizer.zero_grad();
    step.forward([&] { return net.forward(image); }).square().mean().backward();
    step.optimize();
  }
  session.finish();
  const auto t = session.find<Quantization>()->trained(session.state());
  REQUIRE(t.plan.weights.size() == 2);
  CHECK(t.plan.weights[1].site == "conv.weight@1");
  CHECK(t.plan.weights[0].input != t.plan.weights[1].input);
  const torch::NoGradGuard no_grad;
  const auto use = [&](int i, const at::Tensor& x) {
    const auto& by = t.activations[t.plan.weights[i].input];
    return torch::conv2d(rounded(x, by), rounded_weight(net.conv->weight, t.weights[i]),
                         rounded_bias(net.conv->bias, by, t.weights[i]))
        .relu();
  };
  const auto expected = rounded(use(1, use(0, image)), t.activations[t.plan.weights[1].output]).flatten(1);
  CHECK(torch::allclose(session.evaluate([&] { return net.forward(image); }), expected, 1e-5, 1e-6));
}

TEST_CASE("a linear layer of three dimensions used twice, right behind itself") {
  torch::manual_seed(3);
  const bool ignored = GENERATE(false, true);  // then what a layer in floating point gives is rounded
  struct Net : nn::Module {
    Net() { register_module("first", first), register_module("fc", fc); }
    at::Tensor forward(const at::Tensor& x) { return fc(fc(first(x))); }
    nn::Linear first{6, 5}, fc{5, 5};
  } net;
  {
    const torch::NoGradGuard no_grad;
    net.first->bias.add_(3), net.fc->bias.add_(3);  // a product without its bias would lie elsewhere
  }
  torch::optim::SGD optimizer(net.parameters(), 0.001);
  Recipe recipe;
  Quantization::Options options;
  if (ignored) options.ignore = {"first"};
  recipe.add<Quantization>(options);
  Session session(recipe, net, optimizer, 4);
  const auto x = torch::randn({3, 7, 6});
  for (int i = 0; i < 8; ++i) {
    auto step = session.begin_step();
    optimizer.zero_grad();
    step.forward([&] { return net.forward(x); }).square().mean().backward();
    step.optimize();
  }
  session.finish();
  const auto t = session.find<Quantization>()->trained(session.state());
  const int uses = ignored ? 2 : 3;
  REQUIRE(t.plan.weights.size() == static_cast<std::size_t>(uses));
  const torch::NoGradGuard no_grad;
  auto expected = ignored ? net.first(x) : x;
  for (int i = 0; i < uses; ++i) {
    const auto& layer = uses == 3 && i == 0 ? net.first : net.fc;
    const auto& by = t.activations[t.plan.weights[i].input];
    CHECK(rounded(expected, by).sub(expected).abs().max().item<float>() < 0.5f);
    expected = torch::linear(rounded(expected, by), rounded_weight(layer->weight, t.weights[i]),
                             rounded_bias(layer->bias, by, t.weights[i]));
  }
  CHECK(torch::allclose(session.evaluate([&] { return net.forward(x); }), expected, 1e-5, 1e-6));
}

TEST_CASE("inputs are numbered by first use, in whatever order they are declared") {
  torch::manual_seed(4);
  struct Net : nn::Module {
    Net() { register_module("a", a), register_module("b", b); }
    at::Tensor forward(const at::Tensor& small, const at::Tensor& large) {
      const auto y = torch::relu(b(large));
      return torch::relu(a(small)).mean({2, 3}) + y.mean({2, 3});
    }
    nn::Conv2d a{nn::Conv2dOptions(3, 4, 1)}, b{nn::Conv2dOptions(2, 4, 1)};
  } net;
  torch::optim::SGD optimizer(net.parameters(), 0.0);
  Session session(quantize(), net, optimizer, 1);
  const auto small = torch::rand({2, 3, 6, 6}), large = torch::rand({2, 2, 6, 6}) * 1000;
  for (int i = 0; i < 2; ++i) step_with(session, [&] { return net.forward(small, large); });
  const auto trained = session.find<Quantization>()->trained(session.state());

  const auto graph = record(net, small, large);
  REQUIRE(graph.inputs.size() == 2);
  CHECK(graph.values[graph.inputs[0]].sizes == small.sizes().vec());
  CHECK(graph.site_of(graph.inputs[0]) == "input#1");
  CHECK(graph.site_of(graph.inputs[1]) == "input#0");
  CHECK(to_text(make_plan(graph, "cpu")) == to_text(trained.plan));
  for (const auto& layer : trained.plan.weights) {
    const float reach = 255 * trained.activations[layer.input].scale.item<float>();
    CHECK(reach == Approx(layer.site == "a.weight" ? 1 : 1000).epsilon(0.1));
  }
}

TEST_CASE("examples are tensors or vectors of them; a constant that is read first has its number") {
  struct Net : nn::Module {
    Net() { register_module("a", a); }
    at::Tensor forward(const std::vector<at::Tensor>& levels, const at::Tensor& gate) {
      return torch::relu(a(table * 2 + levels[0])) * gate + levels[1];
    }
    at::Tensor table = torch::randn({1, 4});
    nn::Linear a{4, 4};
  } net;
  const std::vector<at::Tensor> levels{torch::randn({2, 4}), torch::randn({2, 4})};
  const auto graph = record(net, levels, torch::randn({2, 4}));
  REQUIRE(graph.inputs.size() == 3);
  std::vector<std::string> sites;
  for (const int input : graph.inputs) sites.push_back(graph.site_of(input));
  CHECK(sites == std::vector<std::string>{"input#1", "input#3", "input#2"});
  const auto both = torch::randn({2, 2, 4});
  CHECK_THROWS_WITH(record(net, levels, levels[0]), ContainsSubstring("same memory"));
  CHECK_THROWS_WITH(record(net, std::vector<at::Tensor>{both[0], both[1]}, torch::randn({2, 4})),
                    ContainsSubstring("same memory"));
}

TEST_CASE("scales of weights follow the weights after the ranges of activations stand still") {
  torch::manual_seed(5);
  nn::Sequential net(nn::Linear(6, 8), nn::ReLU(), nn::Linear(8, 4));
  torch::optim::SGD optimizer(net->parameters(), 0.1);
  Recipe recipe;
  Quantization::Options options;
  options.disable_quantization_observer_epoch = 2;
  recipe.add<Quantization>(options);
  Session session(recipe, *net, optimizer, 2);
  const auto train = [&](int steps) {
    for (int i = 0; i < steps; ++i) {
      auto step = session.begin_step();
      optimizer.zero_grad();
      step.forward([&] { return net->forward(torch::randn({16, 6})); }).square().sum().backward();
      step.optimize();
    }
    return session.find<Quantization>()->trained(session.state());
  };
  const auto before = train(4), after = train(3);
  const auto weight = net->named_parameters()["0.weight"].detach();
  CHECK(torch::equal(before.activations[0].scale, after.activations[0].scale));
  CHECK(torch::equal(before.activations[1].scale, after.activations[1].scale));
  CHECK_FALSE(torch::allclose(before.weights[0].scale, after.weights[0].scale, 1e-4, 0));
  CHECK(torch::allclose(after.weights[0].scale, weight.abs().amax(1) / 127, 1e-6, 0));
}

TEST_CASE("a step rounds every tensor once, however many read it") {
  torch::manual_seed(6);
  struct Net : nn::Module {
    Net() {
      register_module("a", a), register_module("b", b), register_module("c", c), register_module("fc", fc);
    }
    at::Tensor forward(const at::Tensor& image) {
      const auto x = torch::relu(a(image));
      const auto y = torch::relu(b(x) + x), z = torch::relu(c(x) + x);
      return fc((torch::max_pool2d(x, 2) + torch::max_pool2d(y, 2) + torch::max_pool2d(z, 2)).mean({2, 3}));
    }
    nn::Conv2d a{nn::Conv2dOptions(3, 4, 1)}, b{nn::Conv2dOptions(4, 4, 1)}, c{nn::Conv2dOptions(4, 4, 1)};
    nn::Linear fc{4, 2};
  } net;
  torch::optim::SGD optimizer(net.parameters(), 0.0);
  Session session(quantize(), net, optimizer, 1);
  const auto image = torch::randn({2, 3, 6, 6}).requires_grad_();
  for (int i = 0; i < 2; ++i) step_with(session, [&] { return net.forward(image); });
  const auto result = step_with(session, [&] { return net.forward(image); });
  std::map<std::string, int> counts;
  std::set<torch::autograd::Node*> visited;
  const std::function<void(torch::autograd::Node*)> visit = [&](torch::autograd::Node* node) {
    if (!node || !visited.insert(node).second) return;
    for (const auto* kind : {"RoundActivation", "RoundWeight"})
      counts[kind] += node->name().find(kind) != std::string::npos;
    for (const auto& edge : node->next_edges()) visit(edge.function.get());
  };
  visit(result.grad_fn().get());
  auto& modifier = *session.find<Quantization>();
  CHECK(modifier.plan().activations.size() > 5);
  CHECK(counts["RoundActivation"] == static_cast<int>(modifier.plan().activations.size()));
  CHECK(counts["RoundWeight"] == 4);

  std::map<std::string, int> shown;
  modifier.watch([&](const std::string& site, int, const at::Tensor&) { ++shown[site]; });
  session.evaluate([&] { return net.forward(image); });
  CHECK(shown.size() == modifier.plan().activations.size());
  for (const auto& [site, count] : shown) CHECK(count == 1);
}

TEST_CASE("a step with one example; LibTorch refuses one value per channel, and the session goes on") {
  torch::manual_seed(7);
  struct Net : nn::Module {
    Net() {
      register_module("a", a), register_module("bn", bn), register_module("b", b),
          register_module("pooled_bn", pooled_bn), register_module("fc", fc);
    }
    at::Tensor forward(const at::Tensor& image) {
      auto x = b(torch::relu(bn(a(image))));
      x = torch::adaptive_avg_pool2d(torch::relu(x), {1, 1});
      return fc((has_pooled_norm ? pooled_bn(x) : x).flatten(1));
    }
    bool has_pooled_norm = false;
    nn::Conv2d a{nn::Conv2dOptions(3, 4, 3).bias(false)}, b{nn::Conv2dOptions(4, 4, 1)};
    nn::BatchNorm2d bn{4}, pooled_bn{4};
    nn::Linear fc{4, 2};
  };
  for (const bool has_pooled_norm : {false, true}) {
    Net net;
    net.has_pooled_norm = has_pooled_norm;
    torch::optim::SGD optimizer(net.parameters(), 0.1);
    Session session(quantize(), net, optimizer, 1);
    const auto one = torch::randn({1, 3, 6, 6}), two = torch::randn({2, 3, 6, 6});
    const auto train = [&](const at::Tensor& images) {
      auto step = session.begin_step();
      optimizer.zero_grad();
      step.forward([&] { return net.forward(images); }).square().sum().backward();
      step.optimize();
    };
    if (has_pooled_norm) {
      for (int i = 0; i < 3; ++i) train(two);
      CHECK_THROWS_WITH(train(one), ContainsSubstring("Expected more than 1 value per channel"));
      train(two);
    } else {
      for (int i = 0; i < 4; ++i) train(one);
    }
    session.finish();
    CHECK(net.a->weight.grad().abs().max().item<float>() > 0);
    for (const auto& parameter : net.parameters()) CHECK(parameter.isfinite().all().item<bool>());
    for (const auto& buffer : net.buffers()) CHECK(buffer.isfinite().all().item<bool>());
    net.eval();
    const auto result = session.evaluate([&] { return net.forward(one); });
    CHECK(result.isfinite().all().item<bool>());
    CHECK_FALSE(torch::equal(result, net.forward(one)));
  }
}

TEST_CASE("a quantized layer that reads what a teacher computed is refused when it is planned") {
  nn::Linear student(4, 4), teacher(4, 4);
  torch::optim::SGD optimizer(student->parameters(), 0.0);
  Session session(quantize(), *student, optimizer, 1);
  auto step = session.begin_step();
  CHECK_THROWS_WITH(step.forward([&] { return student(torch::relu(teacher(torch::randn({3, 4})))); }),
                    ContainsSubstring("relu") && ContainsSubstring("a layer that is not the model's"));
}
