// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <catch2/catch_test_macros.hpp>

#include "sparsify/modifiers/quantization.hpp"
#include "sparsify/onnx/check.hpp"
#include "sparsify/onnx/inspect.hpp"
#include "sparsify/onnx/lint.hpp"
#include "sparsify/onnx/parity.hpp"
#include "sparsify/session.hpp"
#include "support.hpp"

namespace nn = torch::nn;
using namespace sparsify;
using namespace sparsify::onnx;
using namespace sparsify::onnx::testing;

namespace {

nn::Conv2d conv(std::int64_t in, std::int64_t out, std::int64_t kernel, std::int64_t stride = 1,
                std::int64_t groups = 1) {
  return nn::Conv2d(
      nn::Conv2dOptions(in, out, kernel).stride(stride).padding(kernel / 2).groups(groups).bias(false));
}

// Two residual blocks with a padded and a projected shortcut, as in networks for small images.
struct SmallResNetImpl : nn::Module {
  SmallResNetImpl() {
    for (const auto& [name, in, out, kernel, stride, groups] :
         std::vector<std::tuple<std::string, int, int, int, int, int>>{{"stem", 3, 16, 3, 1, 1},
                                                                       {"a1", 16, 16, 3, 1, 4},
                                                                       {"a2", 16, 16, 3, 1, 1},
                                                                       {"b1", 16, 32, 3, 2, 1},
                                                                       {"b2", 32, 32, 3, 1, 1},
                                                                       {"down", 16, 32, 1, 2, 1}}) {
      convs.emplace(name, register_module(name, conv(in, out, kernel, stride, groups)));
      norms.emplace(name, register_module(name + "_bn", nn::BatchNorm2d(out)));
    }
    fc = register_module("fc", nn::Linear(32, 4));
  }
  at::Tensor layer(const std::string& name, const at::Tensor& x) { return norms.at(name)(convs.at(name)(x)); }
  at::Tensor forward(const at::Tensor& input) {
    auto x = torch::hardtanh(layer("stem", input), 0, 6);  // ReLU6
    x = layer("a2", torch::relu(layer("a1", x))).add_(x).relu_();
    x = torch::relu(layer("b2", torch::relu(layer("b1", x))) + layer("down", x));
    return fc(torch::adaptive_avg_pool2d(x, {1, 1}).flatten(1));
  }
  std::map<std::string, nn::Conv2d> convs;
  std::map<std::string, nn::BatchNorm2d> norms;
  nn::Linear fc{nullptr};
};
TORCH_MODULE(SmallResNet);

// What detectors are made of: SiLU and leaky ReLU, pyramid pooling, upsampling, concatenation, chunked
// features.
struct SmallPyramidImpl : nn::Module {
  SmallPyramidImpl() {
    for (const auto& [name, in, out, kernel, stride] :
         std::vector<std::tuple<std::string, int, int, int, int>>{{"stem", 3, 16, 3, 1},
                                                                  {"down", 16, 16, 3, 2},
                                                                  {"split", 8, 8, 3, 1},
                                                                  {"spp", 48, 16, 1, 1},
                                                                  {"up", 32, 16, 1, 1}}) {
      convs.emplace(name, register_module(name, conv(in, out, kernel, stride)));
      norms.emplace(name, register_module(name + "_bn", nn::BatchNorm2d(out)));
    }
    head = register_module("head", nn::Conv2d(nn::Conv2dOptions(16, 4, 1)));
  }
  at::Tensor layer(const std::string& name, const at::Tensor& x) { return norms.at(name)(convs.at(name)(x)); }
  at::Tensor forward(const at::Tensor& input) {
    const auto fine = torch::silu(layer("stem", input));
    auto x = torch::leaky_relu(layer("down", fine), 0.1);
    const auto halves = x.chunk(2, 1);
    x = torch::cat({halves[0], torch::silu(layer("split", halves[1]))}, 1);
    x = torch::relu(
        layer("spp", torch::cat({x, torch::max_pool2d(x, 3, 1, 1), torch::max_pool2d(x, 5, 1, 2)}, 1)));
    x = torch::cat({torch::upsample_nearest2d(x, at::IntArrayRef{input.size(2), input.size(3)}), fine}, 1);
    return head(torch::relu(layer("up", x))).mean({2, 3});
  }
  std::map<std::string, nn::Conv2d> convs;
  std::map<std::string, nn::BatchNorm2d> norms;
  nn::Conv2d head{nullptr};
};
TORCH_MODULE(SmallPyramid);

// Four classes: stripes of two widths and two directions, in noise.
std::pair<at::Tensor, at::Tensor> stripes(std::int64_t count) {
  const auto labels = torch::randint(4, {count}, torch::kLong);
  const auto position = torch::arange(16).to(torch::kFloat);
  std::vector<at::Tensor> images;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto label = labels[i].item<std::int64_t>();
    const auto wave =
        torch::sin(position * (label & 1 ? 0.8 : 1.6) + torch::rand({1}) * 6).expand({3, 16, 16});
    images.push_back((label & 2 ? wave : wave.transpose(1, 2)) + 0.7 * torch::randn({3, 16, 16}));
  }
  return {torch::stack(images), labels};
}

template <class Net>
struct Trained {
  Net net;
  torch::optim::SGD optimizer{net->parameters(), torch::optim::SGDOptions(0.05).momentum(0.9)};
  std::unique_ptr<Session> session;

  Trained(const std::string& scheme, int steps, const Value& weight_bits = {}) {
    Recipe recipe;
    Quantization::Options options;
    options.scheme = scheme;
    options.weight_bits = weight_bits;
    recipe.add<Quantization>(options);
    session = std::make_unique<Session>(recipe, *net, optimizer, 10);
    for (int i = 0; i < steps; ++i) {
      const auto [images, labels] = stripes(32);
      auto step = session->begin_step();
      optimizer.zero_grad();
      const auto output = step.forward([&, x = images] { return net->forward(x); });
      step.loss(torch::cross_entropy_loss(output, labels)).backward();
      step.optimize();
    }
    net->eval();
  }

  at::Tensor evaluate(const at::Tensor& images) {
    return session->evaluate([&] { return net->forward(images); });
  }
  TrainedQuantization quantization() {
    return session->template find<Quantization>()->trained(session->state());
  }
};

struct Outcome {
  ExportReport report;
  ParityReport parity;
};

template <class Net>
Outcome export_and_compare(Trained<Net>& trained, Target target, const std::filesystem::path& path) {
  ExportOptions options;
  options.target = target;
  const auto quantization = trained.quantization();
  Outcome outcome;
  outcome.report = export_model(*trained.net, torch::randn({2, 3, 16, 16}), options, path, &quantization);
  check_model(path);
  EngineOptions how;
  how.optimize = target == Target::kCpu;
  Engine engine(path, how);
  int left = 4;
  outcome.parity = compare([&](const at::Tensor& x) { return engine.run(x); },
                           [&](const at::Tensor& x) { return trained.evaluate(x); },
                           [&](at::Tensor& input, at::Tensor& labels) {
                             std::tie(input, labels) = stripes(128);
                             return left-- > 0;
                           });
  return outcome;
}

}  // namespace

TEST_CASE("a network trained with quantizers decides the same in ONNX Runtime, in integers throughout") {
  torch::manual_seed(2);
  const Folder folder;
  Trained<SmallResNet> trained("cpu", 40);
  const auto [report, parity] = export_and_compare(trained, Target::kCpu, folder / "model.onnx");
  CAPTURE(parity.agreement, parity.max_difference, parity.mean_difference);
  CHECK(parity.samples == 512);
  CHECK(parity.agreement >= 0.99);
  CHECK(parity.mean_difference < 0.02);
  CHECK(*parity.reference_accuracy > 0.8);
  CHECK(std::abs(*parity.reference_accuracy - *parity.engine_accuracy) <= 0.01);
  CHECK(report.quantized_layers == 7);
  CHECK(report.unquantized.empty());
  const auto fusion = integer_layers(folder / "model.onnx");
  CHECK(fusion.float_layers.empty());
  CHECK(fusion.integer_layers.size() == 7);
}

TEST_CASE("concatenations, pyramid pooling and SiLU stay in integers") {
  torch::manual_seed(2);
  const Folder folder;
  Trained<SmallPyramid> trained("cpu", 40);
  const auto [report, parity] = export_and_compare(trained, Target::kCpu, folder / "model.onnx");
  CAPTURE(parity.agreement, parity.max_difference, parity.mean_difference);
  CHECK(parity.agreement >= 0.99);
  CHECK(parity.mean_difference < 0.02);
  const auto fusion = integer_layers(folder / "model.onnx");
  for (const auto& name : report.quantized) {
    INFO(name);
    CHECK(std::count(fusion.integer_layers.begin(), fusion.integer_layers.end(), name) == 1);
  }
  for (const auto& [op, count] : fusion.operators) UNSCOPED_INFO(op << " " << count);
  CHECK(fusion.operators.count("Concat") == 0);
  CHECK(report.quantized_layers >= 5);
}

TEST_CASE("7-bit weights need no exact sums of products, fewer bits are kept where the recipe says") {
  torch::manual_seed(2);
  const Folder folder;
  Trained<SmallResNet> legacy("cpu-legacy", 40);
  const auto quantization = legacy.quantization();
  for (const auto& layer : quantization.plan.weights) CHECK(layer.bits == 7);
  const auto [report, parity] = export_and_compare(legacy, Target::kCpu, folder / "legacy.onnx");
  CHECK(parity.agreement >= 0.99);
  CHECK(report.quantized_layers == 7);
  // Where ONNX Runtime saturates 8-bit weights, these give the same as with exact sums.
  EngineOptions by_default;
  by_default.exact_integers = false;
  const auto images = stripes(64).first;
  CHECK(torch::equal(Engine(folder / "legacy.onnx", by_default).run(images),
                     Engine(folder / "legacy.onnx").run(images)));

  Trained<SmallResNet> mixed("cpu", 40, Value::mapping({{"4", Value("b2")}, {"8", Value("__ALL__")}}));
  const auto bits = export_and_compare(mixed, Target::kCpu, folder / "mixed.onnx");
  CHECK(bits.parity.agreement >= 0.99);
  for (const auto& weight : inspect_model(folder / "mixed.onnx").weights) {
    INFO(weight.name);
    CHECK(weight.bits == (weight.name == "b2.weight" ? 4 : 8));
  }
}

TEST_CASE("the same for target gpu, whose file passes the linter") {
  torch::manual_seed(2);
  const Folder folder;
  Trained<SmallResNet> trained("gpu", 40);
  const auto [report, parity] = export_and_compare(trained, Target::kGpu, folder / "model.onnx");
  CAPTURE(parity.agreement, parity.max_difference, parity.mean_difference);
  CHECK(parity.agreement >= 0.99);
  CHECK(report.quantized_layers == 7);
  const auto lint = lint_gpu(folder / "model.onnx");
  for (const auto& finding : lint.findings)
    UNSCOPED_INFO(finding.rule << " " << finding.node << " " << finding.message);
  CHECK(lint.findings.empty());
}
