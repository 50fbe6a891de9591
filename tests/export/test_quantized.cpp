// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_all.hpp>

#include "sparsify/error.hpp"
#include "sparsify/onnx/check.hpp"
#include "sparsify/onnx/inspect.hpp"
#include "sparsify/onnx/lint.hpp"
#include "sparsify/quantization/make_plan.hpp"
#include "sparsify/quantization/quantizers.hpp"
#include "support.hpp"

namespace nn = torch::nn;
using namespace sparsify;
using namespace sparsify::onnx;
using namespace sparsify::onnx::testing;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::MessageMatches;

namespace {

// conv1 - bn1 - relu - [conv2 - bn2 - relu - conv3 - bn3] + skip - relu - max-pool - mean - fc
struct ResidualImpl : nn::Module {
  ResidualImpl() {
    for (int i = 0; i < 3; ++i) {
      const auto number = std::to_string(i + 1);
      convs[i] = register_module("conv" + number,
                                 nn::Conv2d(nn::Conv2dOptions(i ? 8 : 3, 8, 3).padding(1).bias(false)));
      norms[i] = register_module("bn" + number, nn::BatchNorm2d(8));
    }
    fc = register_module("fc", nn::Linear(8, 5));
  }
  at::Tensor forward(const at::Tensor& input) {
    const auto skip = torch::relu(norms[0](convs[0](input)));
    const auto middle = torch::relu(norms[1](convs[1](skip)));
    const auto sum = torch::relu(norms[2](convs[2](middle)) + skip);
    return fc(torch::flatten(torch::adaptive_avg_pool2d(torch::max_pool2d(sum, 2), {1, 1}), 1));
  }
  nn::Conv2d convs[3] = {nullptr, nullptr, nullptr};
  nn::BatchNorm2d norms[3] = {nullptr, nullptr, nullptr};
  nn::Linear fc{nullptr};
};
TORCH_MODULE(Residual);

Residual residual_net() {
  torch::manual_seed(5);
  Residual net;
  net->eval();
  const torch::NoGradGuard no_grad;
  for (auto& norm : net->norms) {
    norm->weight.uniform_(0.5, 1.5);
    norm->weight[1] = -0.8;  // flips the integers' sign
    norm->bias.uniform_(-0.5, 0.5);
    norm->running_mean.uniform_(-0.2, 0.2);
    norm->running_var.uniform_(0.1, 0.6);
  }
  net->norms[0]->weight[2] = 0;      // the whole channel is its bias
  net->convs[1]->weight[3].zero_();  // a channel that pruning emptied
  net->convs[2]->weight.mul_(torch::rand_like(net->convs[2]->weight) > 0.5);
  return net;
}

QuantizerParameters grid(double scale, int zero_point) {
  return {torch::full({1}, scale, torch::kFloat), torch::full({1}, zero_point, torch::kInt)};
}

// Scales as calibration would set them, by hand: the plan's quantizers are input, relu1, relu2, bn3, the sum,
// the mean.
TrainedQuantization quantized_by_hand(Residual& net, const at::Tensor& images, const std::string& scheme) {
  TrainedQuantization trained;
  trained.plan = make_plan(record(*net, images), scheme);
  const bool cpu = scheme == "cpu";
  const torch::NoGradGuard no_grad;
  const auto skip = torch::relu(net->norms[0](net->convs[0](images)));
  for (const auto& quantizer : trained.plan.activations) {
    double reach = 4;
    if (quantizer.site == "conv1.weight/relu#0") reach = skip.max().item<double>();
    if (cpu && quantizer.non_negative)
      trained.activations.push_back(grid(reach / 255, 0));
    else if (cpu)
      trained.activations.push_back(grid(2 * reach / 255, 131));
    else
      trained.activations.push_back(grid(reach / 127, 0));
  }
  for (const auto& layer : trained.plan.weights) {
    auto weight = net->named_parameters()[layer.site].detach();
    auto scale = weight.abs().flatten(1).amax(1) / 127;
    if (layer.site == "conv2.weight") scale[3] = 0.01;
    trained.weights.push_back({scale, torch::zeros_like(scale, torch::kInt)});
  }
  return trained;
}

// The integer arithmetic of the exported network, in float64: a reference that shares no code with the
// exporter.
class Emulation {
 public:
  Emulation(Residual& net, const TrainedQuantization& trained) : net_(net), trained_(trained) {}

  at::Tensor run(const at::Tensor& images) {
    const torch::NoGradGuard no_grad;
    const auto x = round(images.to(torch::kDouble), "input#0");
    const auto skip = round(torch::relu(layer(0, x, "input#0")), "conv1.weight/relu#0");
    const auto middle = round(torch::relu(layer(1, skip, "conv1.weight/relu#0")), "conv2.weight/relu#0");
    const auto branch = round(layer(2, middle, "conv2.weight/relu#0"), "conv3.weight/batch_norm#0");
    const auto sum = round(torch::relu(branch + skip), "conv3.weight/relu#0");
    const auto mean = round(torch::max_pool2d(sum, 2).mean({2, 3}), "conv3.weight/adaptive_avg_pool2d#0");
    const auto [weight, scale] = integers("fc.weight");
    const auto step = scale * scale_of("conv3.weight/adaptive_avg_pool2d#0");
    const auto bias = torch::round(net_->fc->bias.to(torch::kDouble) / step) * step;
    return torch::linear(mean, weight * scale.unsqueeze(1)) + bias;
  }

 private:
  std::size_t index_of(const std::string& site) const {
    const auto& all = trained_.plan.activations;
    const auto found =
        std::find_if(all.begin(), all.end(), [&](const auto& one) { return one.site == site; });
    INFO(site);
    REQUIRE(found != all.end());
    return static_cast<std::size_t>(found - all.begin());
  }
  double scale_of(const std::string& site) const {
    return trained_.activations[index_of(site)].scale.item<double>();
  }

  at::Tensor round(const at::Tensor& real, const std::string& site) const {
    const auto& grid = trained_.activations[index_of(site)];
    const double scale = grid.scale.item<double>(), zero_point = grid.zero_point.item<double>();
    return (torch::clamp(torch::round(real / scale) + zero_point, 0, 255) - zero_point) * scale;
  }

  std::pair<at::Tensor, at::Tensor> integers(const std::string& name) const {
    const auto& layers = trained_.plan.weights;
    const auto found =
        std::find_if(layers.begin(), layers.end(), [&](const auto& one) { return one.site == name; });
    const auto scale = trained_.weights[static_cast<std::size_t>(found - layers.begin())].scale;
    auto weight = net_->named_parameters()[name].detach();
    std::vector<std::int64_t> shape(weight.dim(), 1);
    shape[0] = -1;
    weight = torch::round(weight / scale.reshape(shape)).clamp(-127, 127).to(torch::kDouble);
    return {weight, scale.to(torch::kDouble)};
  }

  at::Tensor layer(int number, const at::Tensor& x, const std::string& input) const {
    const auto [weight, scale] = integers("conv" + std::to_string(number + 1) + ".weight");
    const auto& norm = net_->norms[number];
    const auto wide = [](const at::Tensor& tensor) { return tensor.detach().to(torch::kDouble); };
    const auto k = wide(norm->weight) / torch::sqrt(wide(norm->running_var) + 1e-5);
    const auto b = wide(norm->bias) - wide(norm->running_mean) * k;
    const auto step = scale * scale_of(input) * k.abs();
    const auto bias = torch::where(k == 0, b, torch::round(b / step) * step);
    return torch::conv2d(x, weight * (scale * k).reshape({-1, 1, 1, 1}), bias, 1, 1);
  }

  Residual& net_;
  const TrainedQuantization& trained_;
};

bool has_rule(const GpuLint& lint, const std::string& rule) {
  return std::any_of(lint.findings.begin(), lint.findings.end(),
                     [&](const Finding& one) { return one.rule == rule; });
}

}  // namespace

TEST_CASE("a quantized residual network computes in ONNX Runtime what integer arithmetic says") {
  const Folder folder;
  auto net = residual_net();
  const auto images = torch::randn({64, 3, 12, 12});
  const auto trained = quantized_by_hand(net, images, "cpu");
  REQUIRE(trained.plan.activations.size() == 6);
  REQUIRE(trained.plan.weights.size() == 4);
  const auto report = export_model(*net, images, {}, folder / "model.onnx", &trained);
  check_model(folder / "model.onnx");
  CHECK(report.layers == 4);
  CHECK(report.quantized_layers == 4);
  CHECK(report.unquantized.empty());
  CHECK(report.rescaled_channels == 0);
  CHECK(report.folded_batch_norms == 3);

  const auto expected = Emulation(net, trained).run(images);
  const auto actual = Engine(folder / "model.onnx").run(images).to(torch::kDouble);
  const double step = trained.activations.back().scale.item<double>();
  CHECK(((actual - expected).abs() > 0.01 * step).to(torch::kDouble).mean().item<double>() < 0.02);
  CHECK(largest_difference(actual, expected) < 3 * step);
  CHECK((actual.argmax(1) == expected.argmax(1)).all().item<bool>());

  EngineOptions literal;
  literal.optimize = false;  // Q and DQ executed one by one in floating point
  const auto reference = Engine(folder / "model.onnx", literal).run(images).to(torch::kDouble);
  CHECK(largest_difference(reference, expected) < 3 * step);
}

TEST_CASE("every layer that the plan rounds is an integer kernel in ONNX Runtime") {
  const Folder folder;
  auto net = residual_net();
  const auto images = torch::randn({8, 3, 12, 12});
  const auto trained = quantized_by_hand(net, images, "cpu");
  const auto report = export_model(*net, images, {}, folder / "model.onnx", &trained);
  const auto fusion = integer_layers(folder / "model.onnx");
  CHECK(fusion.float_layers.empty());
  CHECK(sorted(fusion.integer_layers) == sorted(report.quantized));
  CHECK(report.quantized == std::vector<std::string>{"conv1", "conv2", "conv3", "fc"});
  CHECK(fusion.operators.at("QLinearConv") == 3);
  CHECK(fusion.operators.at("QLinearAdd") == 1);
  CHECK(fusion.operators.at("QGemm") == 1);
  CHECK(fusion.operators.count("BatchNormalization") == 0);
  CHECK(fusion.operators.count("Relu") == 0);

  export_model(*net, images, {}, folder / "float.onnx");
  const auto floating = integer_layers(folder / "float.onnx");
  CHECK(floating.integer_layers.empty());
  CHECK(sorted(floating.float_layers) == sorted(report.quantized));

  const auto facts = inspect_model(folder / "model.onnx");
  REQUIRE(facts.weights.size() == 4);
  CHECK(facts.weights[1].name == "conv2.weight");
  CHECK(facts.weights[1].type == "Char");
  CHECK(facts.weights[1].quantizer == "per-channel int8");
  CHECK(facts.metadata.at("scheme") == "cpu");
  CHECK(facts.activation_quantizers == 8);  // six, and equal ones behind max-pool and flatten
}

TEST_CASE(
    "one scale for a whole weight is one number in the file, and computes what integer arithmetic says") {
  const Folder folder;
  auto net = residual_net();
  const auto images = torch::randn({64, 3, 12, 12});
  Parameters parameters, buffers;
  for (const auto& entry : net->named_parameters()) parameters.push_back({entry.key(), entry.value()});
  for (const auto& entry : net->named_buffers()) buffers.push_back({entry.key(), entry.value()});
  const auto trained_for = [&](const std::string& scheme) {
    auto trained = quantized_by_hand(net, images, scheme);
    for (std::size_t i = 0; i < trained.plan.weights.size(); ++i) {
      auto& layer = trained.plan.weights[i];
      layer.per_tensor = true;
      const auto& weight = find_named(parameters, layer.site)->tensor;
      const auto folded = fold(layer, weight.size(0), parameters, buffers);
      trained.weights[i].scale =
          tensor_weight_scales(weight, folded, trained.activations[layer.input].scale.item<double>());
    }
    return trained;
  };
  const auto trained = trained_for("cpu");
  const auto report = export_model(*net, images, {}, folder / "model.onnx", &trained);
  check_model(folder / "model.onnx");
  for (const auto& weight : inspect_model(folder / "model.onnx").weights)
    CHECK(weight.quantizer == "per-tensor int8");
  CHECK(sorted(integer_layers(folder / "model.onnx").integer_layers) == sorted(report.quantized));
  const auto expected = Emulation(net, trained).run(images);
  const auto actual = Engine(folder / "model.onnx").run(images).to(torch::kDouble);
  const double step = trained.activations.back().scale.item<double>();
  CHECK(((actual - expected).abs() > 0.01 * step).to(torch::kDouble).mean().item<double>() < 0.02);
  CHECK(largest_difference(actual, expected) < 3 * step);
  const auto per_channel = Emulation(net, quantized_by_hand(net, images, "cpu")).run(images);
  CHECK(largest_difference(per_channel, expected) > 0.01 * step);  // another network

  const auto for_gpu = trained_for("gpu");
  ExportOptions options;
  options.target = Target::kGpu;
  export_model(*net, images, options, folder / "gpu.onnx", &for_gpu);
  check_model(folder / "gpu.onnx");
  CHECK(lint_gpu(folder / "gpu.onnx").findings.empty());
}

TEST_CASE("a layer left in floating point is listed with its reason") {
  const Folder folder;
  auto net = residual_net();
  const auto images = torch::randn({8, 3, 12, 12});
  auto trained = quantized_by_hand(net, images, "cpu");
  trained.plan = make_plan(record(*net, images), "cpu", {"fc"});
  trained.activations.resize(trained.plan.activations.size(), grid(0.02, 0));
  trained.weights.resize(trained.plan.weights.size());
  const auto report = export_model(*net, images, {}, folder / "model.onnx", &trained);
  CHECK(report.quantized_layers == 3);
  REQUIRE(report.unquantized.size() == 1);
  CHECK(report.unquantized[0].site == "fc");
  CHECK(report.unquantized[0].rule == "ignored");
  CHECK(integer_layers(folder / "model.onnx").float_layers == std::vector<std::string>{"fc"});
}

TEST_CASE("a bias too large for its grid moves the channel to a coarser one") {
  const Folder folder;
  nn::Sequential net(nn::Conv2d(nn::Conv2dOptions(2, 3, 1)), nn::ReLU(),
                     nn::Conv2d(nn::Conv2dOptions(3, 2, 1)), nn::ReLU(), nn::AdaptiveAvgPool2d(1),
                     nn::Flatten(), nn::Linear(2, 2));
  net->eval();
  {
    const torch::NoGradGuard no_grad;
    auto all = net->named_parameters();
    all["0.weight"].fill_(0.5);
    all["0.weight"][1].fill_(1e-13);
    all["0.bias"].fill_(1.0);
  }
  const auto images = torch::rand({4, 2, 4, 4});
  TrainedQuantization trained;
  trained.plan = make_plan(record(*net, images), "cpu");
  for (std::size_t i = 0; i < trained.plan.activations.size(); ++i)
    trained.activations.push_back(grid(0.02, 0));
  for (const auto& layer : trained.plan.weights) {
    const auto scale = net->named_parameters()[layer.site].detach().abs().flatten(1).amax(1) / 127;
    trained.weights.push_back({scale, torch::zeros_like(scale, torch::kInt)});
  }
  const auto report = export_model(*net, images, {}, folder / "model.onnx", &trained);
  CHECK(report.rescaled_channels == 1);
  CHECK(largest_difference(Engine(folder / "model.onnx").run(images), net->forward(images).detach()) < 0.05);
}

TEST_CASE("target gpu: signed symmetric quantizers, float biases, and a linter that says so") {
  const Folder folder;
  auto net = residual_net();
  const auto images = torch::randn({16, 3, 12, 12});
  const auto trained = quantized_by_hand(net, images, "gpu");
  ExportOptions options;
  options.target = Target::kGpu;
  export_model(*net, images, options, folder / "float.onnx", &trained);
  options.int8_weights = true;
  const auto report = export_model(*net, images, options, folder / "int8.onnx", &trained);
  CHECK(report.quantized_layers == 4);
  for (const std::string name : {"float.onnx", "int8.onnx"}) {
    INFO(name);
    check_model(folder / name);
    const auto lint = lint_gpu(folder / name);
    for (const auto& finding : lint.findings)
      UNSCOPED_INFO(finding.rule << " " << finding.node << " " << finding.message);
    CHECK(lint.findings.empty());
    REQUIRE(lint.two_four.size() == 4);
    CHECK(lint.two_four[0].reason == "3 input channels; expected a multiple of 4");
    CHECK_FALSE(lint.two_four[1].valid);
  }
  EngineOptions literal;
  literal.optimize = false;
  const auto a = Engine(folder / "float.onnx", literal).run(images),
             b = Engine(folder / "int8.onnx", literal).run(images);
  CHECK(largest_difference(a, b) == 0);  // both forms hold the same integers
  const torch::NoGradGuard no_grad;
  CHECK(largest_difference(a, net->forward(images)) < 0.5);
  const auto facts = inspect_model(folder / "float.onnx");
  CHECK(facts.weights[1].type == "Float");
  CHECK(facts.weights[1].quantizer == "per-channel int8");
}

TEST_CASE("the linter finds what TensorRT would refuse") {
  const Folder folder;
  auto net = residual_net();
  const auto images = torch::randn({8, 3, 12, 12});
  const auto trained = quantized_by_hand(net, images, "cpu");
  export_model(*net, images, {}, folder / "cpu.onnx", &trained);
  const auto lint = lint_gpu(folder / "cpu.onnx");
  CHECK(has_rule(lint, "unsigned"));
  CHECK(has_rule(lint, "int32-bias"));
  CHECK(has_rule(lint, "zero-point"));
  CHECK(has_rule(lint, "residual"));
  CHECK_FALSE(has_rule(lint, "weight-axis"));

  // 2:4 is seen in int8 initializers.
  {
    const torch::NoGradGuard no_grad;
    auto& weight = net->convs[1]->weight;
    for (const int channel : {0, 3, 5, 6}) weight.select(1, channel).zero_();
  }
  auto gpu = quantized_by_hand(net, images, "gpu");
  ExportOptions options;
  options.target = Target::kGpu;
  options.int8_weights = true;
  export_model(*net, images, options, folder / "gpu.onnx", &gpu);
  const auto sparse = lint_gpu(folder / "gpu.onnx");
  CHECK(sparse.two_four[1].node == "conv2");
  CHECK(sparse.two_four[1].valid);
}

TEST_CASE("a quantization of another target or another model is refused") {
  const Folder folder;
  auto net = residual_net();
  const auto images = torch::randn({2, 3, 12, 12});
  auto trained = quantized_by_hand(net, images, "cpu");
  ExportOptions options;
  options.target = Target::kGpu;
  CHECK_THROWS_MATCHES(export_model(*net, images, options, folder / "model.onnx", &trained), Error,
                       MessageMatches(ContainsSubstring("quantized for target 'cpu'")));
  auto untrained = trained;
  untrained.activations[2].scale = torch::zeros({1});
  CHECK_THROWS_MATCHES(export_model(*net, images, {}, folder / "model.onnx", &untrained), Error,
                       MessageMatches(ContainsSubstring("no positive scale")));
  auto other = trained;
  other.weights[1].scale = torch::ones({5});
  CHECK_THROWS_MATCHES(export_model(*net, images, {}, folder / "model.onnx", &other), Error,
                       MessageMatches(ContainsSubstring("conv2.weight: expected 8 positive weight scales")));
  auto shifted = trained;
  shifted.plan.weights[1].input = 0;
  CHECK_THROWS_MATCHES(export_model(*net, images, {}, folder / "model.onnx", &shifted), Error,
                       MessageMatches(ContainsSubstring("conv2.weight")));
  shifted = trained;
  shifted.weights.pop_back();
  CHECK_THROWS_MATCHES(export_model(*net, images, {}, folder / "model.onnx", &shifted), Error,
                       MessageMatches(ContainsSubstring("does not belong to its plan")));
  CHECK(folder.is_empty());
}
