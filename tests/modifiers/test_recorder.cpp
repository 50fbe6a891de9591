// SPDX-License-Identifier: Apache-2.0
#include "sparsify/graph/recorder.hpp"

#include <torch/torch.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <thread>

#include "lambda_net.hpp"

using namespace sparsify;
using Catch::Matchers::ContainsSubstring;
using sparsify::test::LambdaNet;
namespace nn = torch::nn;

namespace {

std::vector<std::string> ops(const Graph& graph) {
  std::vector<std::string> names;
  for (const auto& node : graph.nodes) names.push_back(node.op.substr(6));
  return names;
}

std::vector<std::string> sites(const Graph& graph) {
  std::vector<std::string> names;
  for (const auto& node : graph.nodes) names.push_back(node.site);
  return names;
}

using Strings = std::vector<std::string>;

struct Block : nn::Module {
  Block() {
    register_module("conv1", conv1);
    register_module("bn1", bn1);
    register_module("conv2", conv2);
    register_module("fc", fc);
    register_module("drop", drop);
  }
  at::Tensor forward(const at::Tensor& image) {
    auto x = bn1(conv1(image)).relu_();
    auto out = conv2(x);
    out += x;
    out = drop(torch::relu_(out));
    return fc(torch::flatten(torch::max_pool2d(out, 4), 1));
  }
  nn::Conv2d conv1{nn::Conv2dOptions(3, 8, 3).padding(1)},
      conv2{nn::Conv2dOptions(8, 8, 3).padding(torch::kSame)};
  nn::BatchNorm2d bn1{8};
  nn::Linear fc{8, 5};
  nn::Dropout drop{0.5};
};

}  // namespace

TEST_CASE("a residual block becomes a graph of whole operators in single-assignment form") {
  Block net;
  net.train();
  const auto graph = record(net, torch::randn({2, 3, 4, 4}));
  CHECK(net.is_training());
  CHECK(ops(graph) ==
        Strings{"conv2d", "batch_norm", "relu", "conv2d", "add", "relu", "max_pool2d", "flatten", "linear"});
  CHECK(sites(graph) == Strings{"conv1.weight", "conv1.weight/batch_norm#0", "conv1.weight/relu#0",
                                "conv2.weight", "conv2.weight/add#0", "conv2.weight/relu#0",
                                "conv2.weight/max_pool2d#0", "conv2.weight/flatten#0", "fc.weight"});
  const auto& relu = graph.nodes[2];
  const auto& add = graph.nodes[4];
  CHECK(add.value("self") == graph.nodes[3].outputs[0]);
  CHECK(add.value("other") == relu.outputs[0]);
  CHECK(graph.consumers(relu.outputs[0]) == std::vector<int>{3, 4});
  CHECK(graph.inputs.size() == 1);
  CHECK(graph.outputs == graph.nodes.back().outputs);
  CHECK(graph.values[graph.outputs[0]].sizes == std::vector<std::int64_t>{2, 5});

  const auto& conv = graph.nodes[0];
  CHECK(graph.values[conv.value("weight")].name == "conv1.weight");
  CHECK(graph.values[conv.value("weight")].tensor.is_same(net.conv1->weight));
  CHECK(conv.find("padding")->constant.toIntVector() == std::vector<std::int64_t>{1, 1});
  CHECK(conv.find("groups")->constant.toInt() == 1);
  CHECK(graph.nodes[3].find("padding")->constant.toStringRef() == "same");
  CHECK(graph.nodes[1].find("eps")->constant.toDouble() == 1e-5);
  CHECK_FALSE(graph.nodes[1].find("training")->constant.toBool());
  CHECK(graph.values[graph.nodes[1].value("running_var")].name == "bn1.running_var");
  CHECK(graph.values[graph.nodes.back().value("bias")].name == "fc.bias");
  CHECK(graph.values[graph.nodes.back().value("weight")].name == "fc.weight");
}

TEST_CASE("recording changes neither results nor gradients, and dropout does not shift sites") {
  Block net;
  const auto image = torch::randn({2, 3, 4, 4});
  Parameters parameters, buffers;
  for (const auto& p : net.named_parameters()) parameters.push_back({p.key(), p.value()});
  for (const auto& b : net.named_buffers()) buffers.push_back({b.key(), b.value()});
  torch::manual_seed(3);
  auto expected = net.forward(image);
  expected.sum().backward();
  const auto gradient = net.conv1->weight.grad().clone();
  net.zero_grad();
  torch::manual_seed(3);
  at::Tensor result;
  const auto graph = record(parameters, buffers, [&] { result = net.forward(image); });
  result.sum().backward();
  CHECK(torch::equal(result, expected));
  CHECK(torch::equal(net.conv1->weight.grad(), gradient));
  CHECK(sites(graph) == Strings{"conv1.weight", "conv1.weight/batch_norm#0", "conv1.weight/relu#0",
                                "conv2.weight", "conv2.weight/add#0", "conv2.weight/relu#0",
                                "conv2.weight/dropout#0", "conv2.weight/max_pool2d#0",
                                "conv2.weight/flatten#0", "fc.weight"});
  CHECK(graph.inputs.size() == 1);
  CHECK(graph.outputs == graph.nodes.back().outputs);
  CHECK(graph.values[graph.nodes[0].outputs[0]].producer == 0);
}

TEST_CASE("linear layers in every form are aten::linear") {
  LambdaNet net([](auto& self, const at::Tensor& x) {
    auto& layers = *self.template named_children()["layers"]->template as<nn::Sequential>();
    auto y = layers.forward(x);  // three dimensions: matmul, then add_
    const auto weight = self.named_parameters()["layers.0.weight"];
    y = torch::linear(y, weight);  // functional, second use
    return torch::nn::functional::linear(y.flatten(0, 1), weight,
                                         self.named_parameters()["layers.0.bias"]);  // addmm
  });
  net.register_module("layers",
                      nn::Sequential(nn::Linear(6, 6), nn::Linear(nn::LinearOptions(6, 6).bias(false))));
  const auto graph = record(net, torch::randn({2, 3, 6}));
  CHECK(ops(graph) == Strings{"linear", "linear", "linear", "flatten", "linear"});
  CHECK(sites(graph) == Strings{"layers.0.weight", "layers.1.weight", "layers.0.weight@1",
                                "layers.0.weight@1/flatten#0", "layers.0.weight@2"});
  CHECK(graph.values[graph.nodes[0].value("bias")].name == "layers.0.bias");
  CHECK(graph.nodes[1].value("bias") == -1);
  CHECK(graph.nodes[2].value("bias") == -1);
  CHECK(graph.values[graph.nodes[4].value("bias")].name == "layers.0.bias");
  CHECK(graph.nodes[1].value("input") == graph.nodes[0].outputs[0]);
}

TEST_CASE("lists, captured constants, several outputs and composite operators") {
  const auto grid = torch::arange(4.0).view({1, 1, 1, 4});
  LambdaNet net([grid](auto&, const at::Tensor& x) {
    auto parts = x.chunk(2, 1);
    auto joined = torch::concat({parts[1], torch::relu6(parts[0])}, 1);
    auto made = torch::ones({4}).mul(2);  // folds into a constant
    auto shifted = joined + grid * 2;
    auto stacked = torch::stack({x, x});
    return std::make_tuple(shifted, std::vector<at::Tensor>{stacked, joined * made, parts[0]});
  });
  const auto graph = record(net, torch::randn({1, 4, 4, 4}));
  CHECK(ops(graph) == Strings{"split", "hardtanh", "cat", "add", "stack", "mul"});
  CHECK(graph.nodes[0].outputs.size() == 2);
  CHECK(graph.nodes[1].find("max_val")->constant.toScalar().toDouble() == 6);
  CHECK(graph.nodes[2].find("tensors")->values ==
        std::vector<int>{graph.nodes[0].outputs[1], graph.nodes[1].outputs[0]});
  const auto constant = graph.values[graph.nodes[3].value("other")];
  CHECK(torch::equal(constant.tensor, grid * 2));
  CHECK(graph.values[graph.nodes[5].value("other")].tensor.sum().item<float>() == 8);
  CHECK(graph.outputs == std::vector<int>{graph.nodes[3].outputs[0], graph.nodes[4].outputs[0],
                                          graph.nodes[5].outputs[0], graph.nodes[0].outputs[0]});
  CHECK(graph.inputs.size() == 1);
}

TEST_CASE("a teacher inside the forward pass is a section of its own") {
  nn::Linear student(4, 4), teacher(4, 4);
  Parameters parameters{{"fc.weight", student->weight}, {"fc.bias", student->bias}};
  const auto x = torch::randn({2, 4});
  const auto graph = record(parameters, {}, [&] {
    auto mine = torch::relu(student(torch::relu(x)));
    auto theirs = torch::relu(teacher(x));
    return torch::mse_loss(student(torch::relu(mine)), theirs);
  });
  CHECK(sites(graph) == Strings{"input/relu#0", "fc.weight", "fc.weight/relu#0", "fc.weight/t#0",
                                "foreign/addmm#0", "foreign/relu#0", "foreign/relu#1", "fc.weight@1",
                                "fc.weight@1/mse_loss~#0"});
}

TEST_CASE("in-place on memory that another view reads afterwards is refused, with the operator's name") {
  LambdaNet net([](auto&, const at::Tensor& x) {
    auto y = x * 2;
    auto view = y.view({-1});
    y.relu_();
    return view + 1;
  });
  CHECK_THROWS_WITH(record(net, torch::randn({2, 2})), ContainsSubstring("relu"));
  LambdaNet copying([](auto&, const at::Tensor& x) {
    auto y = torch::zeros({2, 2});
    y.copy_(x * 2);
    return y.view({-1}).add_(1);
  });
  const auto graph = record(copying, torch::randn({2, 2}));
  CHECK(ops(graph) == Strings{"mul", "copy", "view", "add"});
}

TEST_CASE("an exception inside the pass leaves nothing switched on; the mode is the calling thread's alone") {
  nn::Linear layer(4, 4);
  Parameters parameters{{"fc.weight", layer->weight}};
  const auto x = torch::randn({2, 4});
  CHECK_THROWS(record(parameters, {}, [&] { layer(torch::randn({2, 5})); }));
  CHECK_FALSE(c10::impl::tls_local_dispatch_key_set().included_.has(kModeKey));
  CHECK(layer(x).sizes() == at::IntArrayRef{2, 4});
  const auto graph = record(parameters, {}, [&] {
    std::thread other([&] { layer(x); });
    other.join();
    layer(x);
  });
  CHECK(graph.nodes.size() == 1);
}
