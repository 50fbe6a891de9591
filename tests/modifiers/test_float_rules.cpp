// SPDX-License-Identifier: Apache-2.0
// Every rule that leaves a layer in floating point, met by a network that breaks just that one.
#include <torch/torch.h>

#include <catch2/catch_test_macros.hpp>
#include <functional>
#include <map>
#include <string>

#include "sparsify/graph/recorder.hpp"
#include "sparsify/quantization/make_plan.hpp"

using namespace sparsify;
namespace nn = torch::nn;

namespace {

/// An integer layer, then what `act` computes with the weights of a second one, then a third.
struct LayerNet : nn::Module {
  using Act = std::function<at::Tensor(LayerNet& net, const at::Tensor& features)>;
  explicit LayerNet(Act act) : act(std::move(act)) {
    register_module("first", first), register_module("second", second), register_module("last", last);
    register_module("transposed", transposed);
    product = register_parameter("product", torch::randn({8, 8}));
    fixed = register_buffer("fixed", torch::randn({8, 8}));
  }
  at::Tensor forward(const at::Tensor& images) {
    return last(act(*this, torch::relu(first(images)).mean({2, 3})));
  }
  Act act;
  nn::Conv2d first{nn::Conv2dOptions(3, 8, 3)};
  nn::Linear second{8, 8}, last{8, 4};
  nn::ConvTranspose1d transposed{nn::ConvTranspose1dOptions(8, 8, 1)};
  at::Tensor product, fixed;
};

/// The layers that stay in floating point, with their rules' names.
std::map<std::string, std::string> left(const LayerNet::Act& act, const std::vector<std::string>& ignore = {},
                                        const std::vector<std::string>& submodules = {},
                                        const std::string& scheme = "cpu") {
  LayerNet net(act);
  const auto plan =
      make_plan(record(net, torch::randn({2, 3, 6, 6})), scheme, ignore, submodules, SchemeOptions{});
  std::map<std::string, std::string> rules;
  for (const auto& layer : plan.unquantized) rules[layer.site] = layer.rule;
  return rules;
}

using Rules = std::map<std::string, std::string>;

at::Tensor by_second(LayerNet& net, const at::Tensor& x) { return torch::relu(net.second(x)); }

}  // namespace

TEST_CASE("a layer that the recipe leaves out stays in floating point") {
  CHECK(left(by_second).empty());
  CHECK(left(by_second, {"second"}) == Rules{{"second.weight", "ignored"}});
  CHECK(left(by_second, {}, {"first", "last"}) == Rules{{"second.weight", "outside-submodules"}});
}

TEST_CASE("a layer whose weight is not a parameter of the model stays in floating point") {
  CHECK(left([](LayerNet& net, auto& x) { return torch::linear(x, net.second->weight * 2); }) ==
        Rules{{"first.weight/linear#0", "weight-computed"}});
  CHECK(left([](LayerNet& net, auto& x) { return torch::linear(x, net.fixed); }) ==
        Rules{{"fixed", "weight-buffer"}});
  struct Ending : LayerNet {
    Ending() : LayerNet(by_second) {}
    at::Tensor forward(const at::Tensor& images) {
      return torch::linear(LayerNet::forward(images), elsewhere);
    }
    at::Tensor elsewhere = torch::randn({2, 4});
  } net;
  const auto plan = make_plan(record(net, torch::randn({2, 3, 6, 6})), "cpu");
  REQUIRE(plan.unquantized.size() == 1);
  CHECK(plan.unquantized[0].rule == "weight-foreign");
}

TEST_CASE("a layer that engines cannot compute in integers stays in floating point") {
  CHECK(left([](LayerNet& net, auto& x) { return torch::matmul(x, net.product); }) ==
        Rules{{"product", "weight-not-transposed"}});
  CHECK(left([](LayerNet& net, auto& x) { return net.transposed(x.unsqueeze(2)).squeeze(2); }) ==
        Rules{{"transposed.weight", "no-integer-kernel"}});
  CHECK(left([](LayerNet& net, auto& x) { return x + net.second(net.fixed).mean(0); }) ==
        Rules{{"second.weight", "constant-input"}});
}

TEST_CASE("the gate of a squeeze-and-excitation block stays in floating point for GPU engines") {
  const auto gate = [](LayerNet& net, const at::Tensor& x) {
    const auto images = x.view({-1, 8, 1, 1}).expand({-1, 8, 2, 2});
    return (images * torch::sigmoid(net.second(x)).view({-1, 8, 1, 1})).mean({2, 3});
  };
  CHECK(left(gate, {}, {}, "gpu") == Rules{{"second.weight", "gate"}});
  CHECK(left(gate).empty());
  CHECK(left(gate, {"second"}, {}, "gpu") == Rules{{"second.weight", "ignored"}});
  CHECK(
      left([](LayerNet& net, auto& x) { return x + torch::sigmoid(net.second(x)); }, {}, {}, "gpu").empty());
  CHECK(left([](LayerNet& net, auto& x) { return net.second(x) * x; }, {}, {}, "gpu").empty());
}
