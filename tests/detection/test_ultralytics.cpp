// SPDX-License-Identifier: Apache-2.0
#include "trainers/data_files.hpp"

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <cmath>
#include <filesystem>
#include <fstream>

#include "replaced.hpp"
#include "sparsify/detection/change_classes.hpp"
#include "sparsify/detection/darknet.hpp"
#include "sparsify/detection/ultralytics.hpp"
#include "sparsify/error.hpp"
#include "sparsify/trainers/weights.hpp"

using namespace sparsify;
using namespace sparsify::detection;
using Catch::Approx;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::StartsWith;
using detection_test::replaced;
namespace fs = std::filesystem;

namespace {

// One of every module; with the multiples there are 8, 16, 16 (twice), 16, 16, ... channels.
const std::string kSmallModel = R"(nc: 2
depth_multiple: 0.5
width_multiple: 0.3
activation: nn.LeakyReLU(0.1)
anchors:
  - [4, 6, 10, 12]
  - [20, 30, 40, 50]
backbone:
  - [-1, 1, Conv, [20, 3, 2]]
  - [-1, 1, Conv, [32, 3, 2, None, 2, False]]
  - [-1, 5, Bottleneck, [32]]
  - [-1, 1, Conv, [64, 3, 2]]
head:
  - [-1, 1, SPP, [48, [3, 5]]]
  - [-1, 1, nn.Upsample, [None, 2, nearest]]
  - [[-1, 2], 1, Concat, [1]]
  - [-1, 1, Bottleneck, [32, False, 1, 0.25]]
  - [4, 1, nn.ZeroPad2d, [[0, 1, 0, 1]]]
  - [-1, 1, nn.MaxPool2d, [2, 1]]
  - [[7, -1], 1, Detect, [nc, anchors]]
)";

void check_yaml_refused(const std::string& what, const std::string& by, const std::string& message) {
  CHECK_THROWS_WITH(parse_ultralytics(replaced(kSmallModel, what, by), "net.yaml"),
                    ContainsSubstring(message));
}

std::int64_t parameters_of(const torch::nn::Module& module) {
  std::int64_t count = 0;
  for (const auto& parameter : module.parameters()) count += parameter.numel();
  return count;
}

std::vector<torch::IntArrayRef> sizes_of(const Maps& maps) {
  std::vector<torch::IntArrayRef> sizes;
  for (const auto& map : maps) sizes.push_back(map.sizes());
  return sizes;
}

// Biases that start with these scores, as far as LibTorch's initialisation lets them be known.
void check_prior(const torch::Tensor& bias, const torch::Tensor& weight, const DetectionHead& head) {
  const auto bound = 1 / std::sqrt(static_cast<double>(weight[0].numel()));
  const auto rows = bias.view({-1, 5 + head.classes});
  const auto objectness = std::log(8 / std::pow(640 / head.stride, 2));
  const auto classes = std::log(0.6 / (static_cast<double>(head.classes) - 0.99999));
  CHECK((rows.select(1, 4) - objectness).abs().max().item<double>() <= bound + 1e-5);
  CHECK((rows.narrow(1, 5, head.classes) - classes).abs().max().item<double>() <= bound + 1e-5);
  CHECK(rows.narrow(1, 0, 4).abs().max().item<double>() <= bound + 1e-5);
}

}  // namespace

TEST_CASE("YOLOv3 has Ultralytics' names, parameters and strides") {
  const auto detector = build_ultralytics("yolov3");
  CHECK(parameters_of(*detector) == 61'949'149);
  const std::vector<std::int64_t> by_block = {
      928,        18'560,    20'672,     73'984,    164'608,   295'424,   2'627'584, 1'180'672,
      10'498'048, 4'720'640, 20'983'808, 5'245'952, 525'312,   4'720'640, 525'312,   4'720'640,
      131'584,    0,         0,          1'377'792, 1'312'256, 131'584,   1'180'672, 33'024,
      0,          0,         344'832,    656'896,   457'725};
  const auto blocks = detector->blocks();
  REQUIRE(blocks.size() == by_block.size());
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    INFO(i);
    CHECK(parameters_of(*blocks[i]) == by_block[i]);
  }
  const auto entries = state_dict(*detector);
  CHECK(entries.size() == 439);
  CHECK(entries.at("model.0.conv.weight").sizes() == torch::IntArrayRef({32, 3, 3, 3}));
  CHECK(entries.at("model.2.cv1.conv.weight").sizes() == torch::IntArrayRef({32, 64, 1, 1}));
  CHECK(entries.at("model.4.1.cv2.bn.running_var").sizes() == torch::IntArrayRef({128}));
  CHECK(entries.at("model.27.0.cv1.conv.weight").sizes() == torch::IntArrayRef({128, 256, 1, 1}));
  CHECK(entries.at("model.28.m.0.weight").sizes() == torch::IntArrayRef({255, 256, 1, 1}));
  CHECK(entries.at("model.28.m.2.weight").sizes() == torch::IntArrayRef({255, 1024, 1, 1}));
  CHECK(entries.at("model.28.anchors")[2][0][0].item<double>() == 116.0 / 32);
  const auto heads = detector->heads();
  REQUIRE(heads.size() == 3);
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(heads[i].stride == 8 << i);
    CHECK(heads[i].coding == BoxCoding::kUltralytics);
    CHECK(heads[i].classes == 80);
    const auto m = "model.28.m." + std::to_string(i);
    check_prior(entries.at(m + ".bias"), entries.at(m + ".weight"), heads[i]);
  }
  CHECK(heads[2].anchors == std::vector<std::pair<double, double>>{{116, 90}, {156, 198}, {373, 326}});
  CHECK(detector->image_height == 640);
  for (const auto& module : detector->modules())
    if (const auto* norm = module->as<torch::nn::BatchNorm2d>()) {
      CHECK(norm->options.eps() == 1e-3);
      CHECK(norm->options.momentum() == 0.03);
    }
  const torch::NoGradGuard no_grad;
  detector->eval();
  const auto maps = detector->forward(torch::rand({1, 3, 64, 96}));
  CHECK(sizes_of(maps) == std::vector<torch::IntArrayRef>{{1, 255, 8, 12}, {1, 255, 4, 6}, {1, 255, 2, 3}});
  CHECK(decode(maps, heads, 64, 96).sizes() == torch::IntArrayRef({1, 3 * (96 + 24 + 6), 85}));
}

TEST_CASE("YOLOv3-SPP and YOLOv3-tiny are Ultralytics'") {
  const auto spp = build_ultralytics("yolov3-spp.yaml");
  CHECK(parameters_of(*spp) == 62'998'749);
  CHECK(state_dict(*spp).at("model.12.cv2.conv.weight").sizes() == torch::IntArrayRef({512, 2048, 1, 1}));
  const auto tiny = build_ultralytics("yolov3-tiny.yaml");
  CHECK(parameters_of(*tiny) == 8'852'366);
  CHECK(state_dict(*tiny).at("model.20.m.1.weight").sizes() == torch::IntArrayRef({255, 512, 1, 1}));
  const torch::NoGradGuard no_grad;
  tiny->eval();
  CHECK(sizes_of(tiny->forward(torch::rand({2, 3, 96, 64}))) ==
        std::vector<torch::IntArrayRef>{{2, 255, 6, 4}, {2, 255, 3, 2}});
  CHECK(tiny->heads()[0].stride == 16);
  CHECK(tiny->heads()[1].anchors.back() == std::pair<double, double>{344, 319});
  CHECK(builtin_ultralytics_models() == std::vector<std::string>{"yolov3", "yolov3-spp", "yolov3-tiny"});
  const auto few = build_ultralytics("yolov3-tiny", {.classes = 3});
  CHECK(few->heads()[0].classes == 3);
  CHECK(parameters_of(*few) == 8'852'366 - (256 + 512 + 2) * 3 * 77);
}

TEST_CASE("a model file computes what its rows say, with its multiples") {
  torch::manual_seed(1);
  const auto detector = parse_ultralytics(kSmallModel, "net.yaml");
  const torch::NoGradGuard no_grad;
  for (auto& buffer : detector->named_buffers())
    if (buffer.key().find("running_var") != std::string::npos)
      buffer.value().copy_(torch::rand_like(buffer.value()) + 0.5);
  detector->eval();
  auto p = detector->named_parameters();
  auto b = detector->named_buffers();
  const auto conv = [&](const std::string& name, const torch::Tensor& x, int stride = 1, int groups = 1,
                        bool activated = true) {
    const auto weight = p["model." + name + ".conv.weight"];
    const auto norm = "model." + name + ".bn.";
    const auto y = torch::batch_norm(torch::conv2d(x, weight, {}, stride, weight.size(2) / 2, 1, groups),
                                     p[norm + "weight"], p[norm + "bias"], b[norm + "running_mean"],
                                     b[norm + "running_var"], false, 0.03, 1e-3, false);
    return activated ? torch::leaky_relu(y, 0.1) : y;
  };
  const auto x = torch::randn({2, 3, 32, 48});
  const auto stem = conv("0", x, 2);
  auto body = conv("1", stem, 2, 2, false);
  for (const std::string name : {"2.0", "2.1"}) body = body + conv(name + ".cv2", conv(name + ".cv1", body));
  const auto narrow = conv("4.cv1", conv("3", body, 2));
  const auto pooled =
      conv("4.cv2",
           torch::cat({narrow, torch::max_pool2d(narrow, 3, 1, 1), torch::max_pool2d(narrow, 5, 1, 2)}, 1));
  const auto joined = torch::cat({pooled.repeat_interleave(2, 2).repeat_interleave(2, 3), body}, 1);
  const auto fine = conv("7.cv2", conv("7.cv1", joined));
  const auto coarse = torch::max_pool2d(torch::constant_pad_nd(pooled, {0, 1, 0, 1}), 2, 1);
  const auto maps = detector->forward(x);
  REQUIRE(maps.size() == 2);
  const auto head = [&](const std::string& i, const torch::Tensor& y) {
    return torch::conv2d(y, p["model.10.m." + i + ".weight"], p["model.10.m." + i + ".bias"]);
  };
  CHECK(torch::allclose(maps[0], head("0", fine), 1e-4, 1e-5));
  CHECK(torch::allclose(maps[1], head("1", coarse), 1e-4, 1e-5));
  // 20 * 0.3 is 6: 8. 32 * 0.3 is 9.6: 16. 64 * 0.3 is 19.2: 24. 48 * 0.3 is 14.4: 16. A quarter of 16: 4.
  CHECK(p["model.0.conv.weight"].size(0) == 8);
  CHECK(p["model.3.conv.weight"].sizes() == torch::IntArrayRef({24, 16, 3, 3}));
  CHECK(p["model.4.cv2.conv.weight"].sizes() == torch::IntArrayRef({16, 36, 1, 1}));
  CHECK(p["model.7.cv1.conv.weight"].size(0) == 4);
  // 5 * 0.5 is 2.5, which Python rounds to 2.
  CHECK(p.contains("model.2.1.cv1.conv.weight"));
  CHECK_FALSE(p.contains("model.2.2.cv1.conv.weight"));
  CHECK(maps[0].sizes() == torch::IntArrayRef({2, 14, 8, 12}));
  CHECK(detector->heads()[0].stride == 4);
  CHECK(detector->heads()[1].stride == 8);
}

TEST_CASE("activations are SiLU, the file's or the caller's") {
  const auto x = torch::randn({1, 3, 32, 32});
  const auto first = [&](const std::string& text, const std::string& wanted) {
    const auto detector = parse_ultralytics(text, "net.yaml", {.activation = wanted});
    detector->eval();
    const auto block = detector->blocks().front();
    const auto p = block->named_parameters();
    const auto linear = torch::conv2d(x, p["conv.weight"], {}, 2, 1) / std::sqrt(1 + 1e-3);
    const auto y = block->forward({x}).at(0);
    for (const auto& [name, expected] : {std::pair<std::string, torch::Tensor>{"silu", torch::silu(linear)},
                                         {"leaky", torch::leaky_relu(linear, 0.1)},
                                         {"relu", torch::relu(linear)}})
      if (torch::allclose(y, expected, 1e-4, 1e-5)) return name;
    return std::string("another");
  };
  const auto silent = replaced(kSmallModel, "activation: nn.LeakyReLU(0.1)\n", "");
  CHECK(first(kSmallModel, "") == "leaky");
  CHECK(first(silent, "") == "silu");
  CHECK(first(kSmallModel, "nn.SiLU()") == "silu");
  CHECK(first(kSmallModel, "relu") == "relu");
  CHECK(first(silent, "LeakyReLU(0.1)") == "leaky");
  CHECK(first(replaced(kSmallModel, "nn.LeakyReLU(0.1)", "nn.ReLU(inplace=True)"), "") == "relu");
  CHECK_THROWS_WITH(first(kSmallModel, "nn.SiLu6()"), ContainsSubstring("got 'nn.SiLu6()'; did you mean"));
}

TEST_CASE("mistakes in a model file are refused with their place") {
  check_yaml_refused("nc: 2", "nc: two",
                     "net.yaml:1:5: nc: expected a whole number from 1 to 100000, got 'two'");
  check_yaml_refused("nc: 2\n", "", "net.yaml:1:1: 'nc' is missing");
  check_yaml_refused(
      "depth_multiple", "depth_multipel",
      "net.yaml:2:17: depth_multipel: models have no such key; did you mean 'depth_multiple'?");
  check_yaml_refused("width_multiple: 0.3", "width_multiple: -1",
                     "net.yaml:3:17: width_multiple: expected a number");
  check_yaml_refused("nc: 2", "nc: 2\nnc: 3", "net.yaml:2:1: 'nc' is given twice");
  check_yaml_refused("nn.LeakyReLU(0.1)", "nn.LeakyReLU(0.2)",
                     "net.yaml:4:13: activation: expected an activation");
  check_yaml_refused("[4, 6, 10, 12]", "[4, 6, 10]", "net.yaml:6:5: anchors: expected pairs");
  check_yaml_refused("[4, 6, 10, 12]", "[4, 6]",
                     "net.yaml:7:5: anchors: expected 1 anchors, as in the first list");
  check_yaml_refused("[4, 6, 10, 12]", "[40, 60, 100, 120]",
                     "net.yaml:20:5: head: anchors are not in the order");
  check_yaml_refused("  - [20, 30, 40, 50]\n", "", "Detect reads 2 rows, but there are anchors for 1");
  check_yaml_refused("[-1, 1, Conv, [20, 3, 2]]", "[-1, 1, Conv]",
                     "net.yaml:9:5: backbone: expected [from, number, module, args], got 3 values");
  check_yaml_refused(
      "[-1, 1, Conv, [20, 3, 2]]", "[-1, 1, Convv, [20, 3, 2]]",
      "net.yaml:9:13: module: expected one of Bottleneck, Concat, Conv, Detect, SPP, nn.MaxPool2d, "
      "nn.Upsample, nn.ZeroPad2d, got 'Convv'; did you mean 'Conv'?");
  check_yaml_refused("[-1, 1, Conv, [20, 3, 2]]", "[-1, 0, Conv, [20, 3, 2]]",
                     "net.yaml:9:10: number: expected");
  check_yaml_refused("[20, 3, 2]", "[]", "net.yaml:9:5: backbone: Conv: the argument 'channels' is missing");
  check_yaml_refused("[20, 3, 2]", "[20, 3, two]",
                     "net.yaml:9:27: stride: expected a whole number from 1 to 99, got 'two'");
  check_yaml_refused(
      "[20, 3, 2]", "[20, 3, 2, 1, 1, True, 7]",
      "args: Conv takes [channels, kernel, stride, padding, groups, activation], got 7 values");
  check_yaml_refused("None, 2, False", "None, 3, False",
                     "groups: 3 groups do not divide both 8 and 16 channels");
  check_yaml_refused("[32, 3, 2, None, 2, False]", "[32, 3, 2, None, 2, 0]",
                     "activation: expected True or False, got '0'");
  check_yaml_refused("[-1, 5, Bottleneck", "[-4, 5, Bottleneck",
                     "net.yaml:11:6: from: reads row -4, but only the 2 before this one exist");
  check_yaml_refused("[-1, 5, Bottleneck", "[7, 5, Bottleneck", "reads row 7, but only the 2");
  check_yaml_refused("[-1, 5, Bottleneck", "[[0, 1], 5, Bottleneck", "Bottleneck reads one row, got 2");
  check_yaml_refused("[[-1, 2], 1, Concat", "[[-1, 0], 1, Concat", "different sizes, of strides 4 and 2");
  check_yaml_refused("1, Concat, [1]", "1, Concat, [2]",
                     "dimension: expected a whole number from 1 to 1, got '2'");
  check_yaml_refused("[3, 5]", "[3, 4]", "net.yaml:14:27: sizes: expected an odd number, got '4'");
  check_yaml_refused("None, 2, nearest", "None, 2, bilinear", "mode: expected 'nearest', got 'bilinear'");
  check_yaml_refused("[[0, 1, 0, 1]]", "[[0, 1]]",
                     "padding: expected [left, right, top, bottom], got a list");
  check_yaml_refused("Detect, [nc, anchors]", "Detect, [80, anchors]", "nc: expected 'nc', got '80'");
  check_yaml_refused("  - [[7, -1], 1, Detect, [nc, anchors]]\n", "",
                     "module: expected Detect in the last row, got 'nn.MaxPool2d'");
  check_yaml_refused("[nc, anchors]]\n", "[nc, anchors]]\n  - [0, 1, Conv, [8]]\n",
                     "no row may follow Detect");
  check_yaml_refused("backbone:", "backbone: [", "not valid YAML");
  CHECK_THROWS_WITH(parse_ultralytics("", "net.yaml"), StartsWith("net.yaml: expected 'key: value' lines"));
  CHECK_THROWS_WITH(parse_ultralytics(kSmallModel, "net.yaml", {.classes = -1}),
                    ContainsSubstring("at least one"));
}

TEST_CASE("a file comes before a model of our own; unknown names are refused") {
  const data_test::Scratch scratch;
  const fs::path folder = scratch.path();
  std::ofstream(folder / "yolov3.yaml") << kSmallModel;
  CHECK(build_ultralytics(folder / "yolov3.yaml")->heads()[0].classes == 2);
  CHECK_THROWS_WITH(build_ultralytics("yolov3-tyni.yaml"),
                    ContainsSubstring("yolov3-tyni.yaml: no such file") &&
                        ContainsSubstring("yolov3.yaml, yolov3-spp.yaml, yolov3-tiny.yaml") &&
                        ContainsSubstring("did you mean 'yolov3-tiny.yaml'?"));
  CHECK_THROWS_WITH(build_ultralytics(folder / "yolov3-tiny.yaml"), ContainsSubstring("no such file"));
}

TEST_CASE("anchors are those that weights bring") {
  const auto trained =
      parse_ultralytics(replaced(kSmallModel, "[4, 6, 10, 12]", "[5, 7, 11, 13]"), "net.yaml");
  const auto detector = parse_ultralytics(kSmallModel, "net.yaml");
  load_weights(*detector, state_dict(*trained));
  CHECK(detector->heads()[0].anchors == std::vector<std::pair<double, double>>{{5, 7}, {11, 13}});
  CHECK(detector->heads()[1].anchors == std::vector<std::pair<double, double>>{{20, 30}, {40, 50}});
}

namespace {

// Two convolutions and a head, as darknet and as Ultralytics write it.
const char* const kDarknet = R"([net]
width=32
height=32
[convolutional]
batch_normalize=1
filters=8
size=3
stride=2
pad=1
activation=leaky
[convolutional]
batch_normalize=1
filters=16
size=3
stride=2
pad=1
activation=leaky
[convolutional]
filters=14
size=1
activation=linear
[yolo]
anchors=4,6, 8,8
classes=2
)";

const char* const kSameBackbone = R"(nc: 2
anchors: [[4, 6, 8, 8]]
activation: nn.LeakyReLU(0.1)
backbone:
  - [-1, 1, Conv, [8, 3, 2]]
  - [-1, 1, Bottleneck, [16, False]]
head:
  - [-1, 1, Detect, [nc, anchors]]
)";

std::map<std::string, torch::Tensor> copies_of(const Detector& detector) {
  std::map<std::string, torch::Tensor> copies;
  for (const auto& [name, tensor] : state_dict(detector)) copies[name] = tensor.clone();
  return copies;
}

void check_changed_classes(Detector& detector, const std::vector<std::string>& convolutions,
                           const std::vector<std::int64_t>& inputs) {
  const auto before = copies_of(detector);
  const auto coding = detector.heads()[0].coding;
  for (const auto& map : detector.forward(torch::rand({2, 3, 32, 32}))) map.sum().backward({}, true);
  change_classes(detector, 5);
  const auto after = state_dict(detector);
  CHECK(after.size() == before.size());
  const auto is_of_head = [&](const std::string& name) {
    for (const auto& convolution : convolutions)
      if (name.starts_with(convolution)) return true;
    return false;
  };
  for (const auto& [name, tensor] : after) {
    INFO(name);
    const bool is_statistic =
        name.find("running") != std::string::npos || name.find("num_b") != std::string::npos;
    if (!is_of_head(name) && !is_statistic) CHECK(torch::equal(tensor, before.at(name)));
  }
  const auto heads = detector.heads();
  REQUIRE(heads.size() == convolutions.size());
  for (std::size_t i = 0; i < heads.size(); ++i) {
    CHECK(heads[i].classes == 5);
    CHECK(heads[i].coding == coding);
    const auto weight = after.at(convolutions[i] + "weight");
    CHECK(weight.sizes() == torch::IntArrayRef({20, inputs[i], 1, 1}));
    check_prior(after.at(convolutions[i] + "bias"), weight, heads[i]);
  }
  torch::optim::SGD optimizer(detector.parameters(), 0.1);
  optimizer.zero_grad();
  const auto maps = detector.forward(torch::rand({2, 3, 32, 32}));
  CHECK(decode(maps, heads, 32, 32).size(2) == 10);
  for (const auto& map : maps) map.square().sum().backward({}, true);
  const auto old = copies_of(detector);
  optimizer.step();
  for (const auto& parameter : detector.named_parameters()) {
    INFO(parameter.key());
    REQUIRE(parameter.value().requires_grad());
    REQUIRE(parameter.value().grad().sizes() == parameter.value().sizes());
    CHECK_FALSE(torch::equal(parameter.value(), old.at(parameter.key())));
  }
}

}  // namespace

TEST_CASE("changed classes give new heads on the same body") {
  torch::manual_seed(3);
  const auto ultralytics = parse_ultralytics(kSmallModel, "net.yaml");
  check_changed_classes(*ultralytics, {"model.10.m.0.", "model.10.m.1."}, {16, 16});
  const auto darknet = parse_darknet(kDarknet, "net.cfg");
  CHECK(darknet->heads()[0].stride == 4);
  check_changed_classes(*darknet, {"model.2.conv."}, {16});
  CHECK_THROWS_WITH(change_classes(*darknet, 0), ContainsSubstring("at least one class"));
  const auto pooled =
      parse_darknet(replaced(kDarknet, "[yolo]", "[maxpool]\nsize=2\nstride=2\n[yolo]"), "net.cfg");
  CHECK(pooled->heads()[0].stride == 8);
  CHECK_THROWS_WITH(change_classes(*pooled, 3), ContainsSubstring("right before [yolo]; here is none"));
}

TEST_CASE("a file of darknet's that ends early fills a backbone") {
  const data_test::Scratch scratch;
  const fs::path folder = scratch.path();
  const auto whole = folder / "whole.weights", part = folder / "net.conv.2";
  const auto source = parse_darknet(kDarknet, "net.cfg");
  save_darknet_weights(*source, whole);
  fs::copy_file(whole, part);
  const auto header = 20, first = 4 * (4 * 8 + 8 * 27), second = 4 * (4 * 16 + 16 * 8 * 9);
  fs::resize_file(part, header + first + second);
  const auto from = state_dict(*source);

  const auto darknet = parse_darknet(kDarknet, "net.cfg");
  const auto before = copies_of(*darknet);
  CHECK(darknet_convolutions(*darknet) == 3);
  CHECK(load_darknet_backbone(*darknet, part) == 2);
  for (const auto& [name, tensor] : state_dict(*darknet)) {
    INFO(name);
    CHECK(torch::equal(tensor, name.starts_with("model.2.") ? before.at(name) : from.at(name)));
  }
  CHECK(load_darknet_backbone(*darknet, whole) == 3);
  CHECK(torch::equal(state_dict(*darknet).at("model.2.conv.bias"), from.at("model.2.conv.bias")));

  const auto ultralytics = parse_ultralytics(kSameBackbone, "net.yaml");
  const auto untouched = copies_of(*ultralytics);
  CHECK_THROWS_WITH(load_darknet_backbone(*ultralytics, part),
                    ContainsSubstring("net.conv.2") && ContainsSubstring("is it of the same backbone?"));
  CHECK_THROWS_WITH(load_darknet_weights(*ultralytics, whole), ContainsSubstring("built from a .cfg"));
  CHECK_THROWS_WITH(save_darknet_weights(*ultralytics, folder / "x"), ContainsSubstring("built from a .cfg"));
  CHECK_FALSE(fs::exists(folder / "x"));
  for (const auto& [name, tensor] : state_dict(*ultralytics)) CHECK(torch::equal(tensor, untouched.at(name)));
  fs::resize_file(part, header + first);
  CHECK(load_darknet_backbone(*ultralytics, part) == 1);
  CHECK(torch::equal(state_dict(*ultralytics).at("model.0.conv.weight"), from.at("model.0.conv.weight")));
  fs::resize_file(part, header + first - 4);
  CHECK_THROWS_WITH(
      load_darknet_backbone(*ultralytics, part),
      ContainsSubstring("the file has 247 numbers, the network up to its convolution 1 has 248"));
  fs::resize_file(part, header);
  CHECK_THROWS_WITH(load_darknet_backbone(*ultralytics, part), ContainsSubstring("a header and no weights"));
}
