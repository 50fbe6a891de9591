// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <set>

#include "sparsify/error.hpp"
#include "sparsify/graph/channel_spaces.hpp"
#include "sparsify/graph/recorder.hpp"
#include "sparsify/permute_for_n_of_m.hpp"
#include "sparsify/session.hpp"
#include "sparsify/trainers/model.hpp"
#include "sparsify/trainers/weights.hpp"

using sparsify::build_model;
using sparsify::ModelOptions;
using sparsify::parameter_count;
using sparsify::state_dict;

namespace {

std::vector<int64_t> shape(const sparsify::StateDict& entries, const std::string& name) {
  return entries.at(name).sizes().vec();
}

ModelOptions ten_classes() { return {.num_classes = 10}; }

}  // namespace

TEST_CASE("torchvision's networks have torchvision's sizes", "[models]") {
  struct Expected {
    const char* name;
    int64_t parameters;
    size_t entries;
  };
  const auto expected =
      GENERATE(Expected{"resnet18", 11'689'512, 122}, Expected{"resnet34", 21'797'672, 218},
               Expected{"resnet50", 25'557'032, 320}, Expected{"resnext50_32x4d", 25'028'904, 320},
               Expected{"resnext101_32x8d", 88'791'336, 626});
  const auto model = build_model(expected.name);
  CHECK(parameter_count(*model) == expected.parameters);
  CHECK(state_dict(*model).size() == expected.entries);
}

TEST_CASE("ResNeXt-50 has torchvision's names and shapes", "[models]") {
  using Shape = std::vector<int64_t>;
  const auto entries = state_dict(*build_model("resnext50_32x4d"));
  CHECK(shape(entries, "conv1.weight") == Shape{64, 3, 7, 7});
  CHECK(shape(entries, "bn1.running_var") == Shape{64});
  CHECK(shape(entries, "bn1.num_batches_tracked") == Shape{});
  CHECK(shape(entries, "layer1.0.conv1.weight") == Shape{128, 64, 1, 1});
  CHECK(shape(entries, "layer1.0.conv2.weight") == Shape{128, 4, 3, 3});
  CHECK(shape(entries, "layer1.0.conv3.weight") == Shape{256, 128, 1, 1});
  CHECK(shape(entries, "layer1.0.downsample.0.weight") == Shape{256, 64, 1, 1});
  CHECK(shape(entries, "layer1.0.downsample.1.running_mean") == Shape{256});
  CHECK(shape(entries, "layer4.2.conv2.weight") == Shape{1024, 32, 3, 3});
  CHECK(shape(entries, "layer4.2.bn3.bias") == Shape{2048});
  CHECK(shape(entries, "fc.weight") == Shape{1000, 2048});
  CHECK(entries.count("layer1.1.downsample.0.weight") == 0);
  const auto wide = state_dict(*build_model("resnext101_32x8d"));
  CHECK(shape(wide, "layer3.22.conv2.weight") == Shape{1024, 32, 3, 3});
  CHECK(shape(wide, "layer1.0.conv2.weight") == Shape{256, 8, 3, 3});
}

TEST_CASE("entries are registered in torchvision's order", "[models]") {
  std::vector<std::string> names;
  for (const auto& parameter : build_model("resnet18")->named_parameters()) names.push_back(parameter.key());
  CHECK(names.front() == "conv1.weight");
  CHECK(names.back() == "fc.bias");
  const auto block = std::find(names.begin(), names.end(), "layer2.0.conv1.weight");
  REQUIRE(names.end() - block > 8);
  CHECK(block[3] == "layer2.0.conv2.weight");
  CHECK(block[6] == "layer2.0.downsample.0.weight");
}

TEST_CASE("the CIFAR networks of He et al. have their sizes", "[models]") {
  CHECK(parameter_count(*build_model("resnet20", ten_classes())) == 269'722);
  CHECK(parameter_count(*build_model("resnet32", ten_classes())) == 464'154);
  CHECK(parameter_count(*build_model("resnet56", ten_classes())) == 853'018);
}

TEST_CASE("the small networks have the sizes they were measured with", "[models]") {
  CHECK(parameter_count(*build_model("resnet8_cifar", ten_classes())) == 1'210'410);
  CHECK(parameter_count(*build_model("resnet10_cifar", ten_classes())) == 2'695'402);
  CHECK(parameter_count(*build_model("resnext14_4x16d", ten_classes())) == 732'330);
  CHECK(parameter_count(*build_model("linear", ten_classes())) == 30'730);
  CHECK(parameter_count(*build_model("linear", {.num_classes = 10, .image_size = 64})) == 122'890);
}

TEST_CASE("2:4 applies to every convolution of the small networks but the stem", "[models]") {
  const auto name = GENERATE("resnet8_cifar", "resnet10_cifar", "resnext14_4x16d");
  for (const auto& [entry, tensor] : state_dict(*build_model(name, ten_classes()))) {
    if (tensor.dim() != 4 || entry == "conv1.weight") continue;
    CAPTURE(entry);
    CHECK(tensor.size(0) % 16 == 0);
    CHECK(tensor.size(1) % 16 == 0);
  }
}

TEST_CASE("every 32-pixel network maps images to logits and learns from them", "[models]") {
  torch::manual_seed(1);
  for (const auto& name : sparsify::model_names()) {
    if (sparsify::model_info(name).image_size != 32) continue;
    CAPTURE(name);
    const auto model = build_model(name, {.num_classes = 7});
    const auto logits = model->forward(torch::randn({2, 3, 32, 32}));
    CHECK(logits.sizes().vec() == std::vector<int64_t>{2, 7});
    logits.logsumexp(1).sum().backward();
    for (const auto& parameter : model->named_parameters()) {
      CAPTURE(parameter.key());
      CHECK(parameter.value().grad().defined());
    }
  }
}

TEST_CASE("ResNet-50 reduces 64 pixels to 2 and takes grey images", "[models]") {
  const auto model = build_model("resnet50", {.num_classes = 5, .in_channels = 1});
  model->eval();
  torch::NoGradGuard no_grad;
  CHECK(model->forward(torch::zeros({1, 1, 64, 64})).sizes().vec() == std::vector<int64_t>{1, 5});
}

TEST_CASE("the stride of a stage sits on its first 3x3 convolution, as in torchvision", "[models]") {
  struct Expected {
    const char* name;
    int64_t conv1, conv2;  // sides of what layer2.0 computes of 64 pixels, which layer1 gives on as 16
  };
  const auto expected = GENERATE(Expected{"resnet18", 8, 8}, Expected{"resnet34", 8, 8},
                                 Expected{"resnet50", 16, 8}, Expected{"resnext50_32x4d", 16, 8});
  CAPTURE(expected.name);
  const auto model = build_model(expected.name);
  const auto graph = sparsify::record(*model, torch::zeros({1, 3, 64, 64}));
  const auto side = [&](const std::string& site) {
    for (const auto& node : graph.nodes)
      if (node.site == site) return graph.values[node.outputs.front()].sizes.back();
    return int64_t{-1};
  };
  CHECK(side("layer1.0.conv1.weight") == 16);
  CHECK(side("layer2.0.conv1.weight") == expected.conv1);
  CHECK(side("layer2.0.conv2.weight") == expected.conv2);
}

TEST_CASE("option-A shortcuts slice every second pixel and pad channels on both sides", "[models]") {
  // With all convolutions zero and batch norm without effect, a block passes on its shortcut alone.
  const auto model = build_model("resnet20", ten_classes());
  model->eval();
  torch::NoGradGuard no_grad;
  for (auto& parameter : model->named_parameters()) {
    if (parameter.value().dim() == 4) parameter.value().zero_();
    if (parameter.key() == "linear.weight") parameter.value().copy_(torch::eye(64).slice(0, 20, 30));
    if (parameter.key() == "linear.bias") parameter.value().zero_();
  }
  // The stem copies red into channel 0; two paddings of 8 and 16 move it to channel 24, which is logit 4.
  model->named_parameters()["conv1.weight"][0][0][1][1] = 1;
  auto image = torch::zeros({1, 3, 32, 32});
  image[0][0].slice(0, 0, 32, 4).slice(1, 0, 32, 4) = 2;
  const auto logits = model->forward(image);
  CHECK(std::abs(logits[0][4].item<float>() - 2.0f) < 1e-4f);
  CHECK(logits.abs().sum().item<float>() == logits[0][4].item<float>());
}

TEST_CASE("convolutions start with variance 2 / fan-out", "[models]") {
  torch::manual_seed(3);
  const auto entries = state_dict(*build_model("resnet18"));
  const auto spread = entries.at("layer4.1.conv2.weight").std().item<double>();
  CHECK(std::abs(spread / std::sqrt(2.0 / (512 * 9)) - 1) < 0.01);
  CHECK(entries.at("layer4.1.bn2.weight").eq(1).all().item<bool>());
}

TEST_CASE("in channels last, gradients get the parameters' strides", "[models]") {
  const auto name = GENERATE("resnet8_cifar", "resnext14_4x16d", "resnet20");
  const auto model = build_model(name, ten_classes());
  const auto images = torch::randn({4, 3, 32, 32});
  model->eval();
  const auto before = model->forward(images);
  const auto address = model->parameters()[0].unsafeGetTensorImpl();
  sparsify::use_channels_last(*model);
  CHECK(model->parameters()[0].unsafeGetTensorImpl() == address);
  const auto channels_last = images.contiguous(torch::MemoryFormat::ChannelsLast);
  CHECK(torch::allclose(before, model->forward(channels_last), 1e-4, 1e-4));
  model->train();
  model->forward(channels_last).logsumexp(1).sum().backward();
  for (const auto& parameter : model->named_parameters()) {
    CAPTURE(parameter.key());
    CHECK(parameter.value().grad().strides().vec() == parameter.value().strides().vec());
  }
}

TEST_CASE("unknown names and impossible options are errors that help", "[models]") {
  using Catch::Matchers::ContainsSubstring;
  CHECK_THROWS_WITH(build_model("resnet-50"),
                    ContainsSubstring("did you mean 'resnet50'") && ContainsSubstring("linear"));
  CHECK_THROWS_WITH(sparsify::model_info("resnex50"), ContainsSubstring("Known are resnet18, resnet34"));
  CHECK_THROWS_AS(build_model("resnet18", {.num_classes = 0}), sparsify::Error);
  CHECK_THROWS_AS(build_model("resnet18", {.in_channels = -3}), sparsify::Error);
  const auto names = sparsify::model_names();
  CHECK(std::set<std::string>(names.begin(), names.end()).size() == names.size());
  CHECK(sparsify::model_info("resnext50_32x4d").image_size == 224);
}

TEST_CASE("channels of large networks change places: more is kept, the network computes the same",
          "[models][long]") {
  const std::string name = GENERATE("resnet50", "resnext50_32x4d");
  torch::manual_seed(0);
  const auto model = build_model(name);
  model->eval();
  const torch::NoGradGuard no_grad;
  for (const auto& buffer : model->named_buffers())  // fresh statistics would hide what moves
    if (buffer.value().is_floating_point()) buffer.value().uniform_(0.5, 1.5);
  torch::optim::SGD optimizer(model->parameters(), 0.1);
  sparsify::Session session({}, *model, optimizer, 1);
  auto state = session.state();  // shares the weights
  const auto images = torch::randn({2, 3, 64, 64});
  const auto before = model->forward(images);
  sparsify::Parameters weights;
  for (const auto& parameter : state.parameters)
    if (parameter.prunable() && parameter.groups == 1 && parameter.tensor.size(1) % 4 == 0)
      weights.push_back(parameter);
  const auto spaces = sparsify::channel_spaces(sparsify::record(*model, images), state.parameters);
  const auto gain = sparsify::permute_for_n_of_m(state, spaces, weights, {2, 4}, 1e10);
  WARN(name << ": " << gain.text());
  // ResNeXt: what five stages pass on, and behind grouped convolutions wider than 4 the channels of each
  // group.
  CHECK(gain.searched == (name == "resnet50" ? 37 : 5 + 4 + 6 + 3));
  CHECK(gain.spaces == gain.searched);
  CHECK(gain.kept_after > 1.001 * gain.kept_before);
  CHECK(torch::allclose(model->forward(images), before, 1e-3, 1e-3 * before.abs().max().item<double>()));
}
