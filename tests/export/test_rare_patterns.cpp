// SPDX-License-Identifier: Apache-2.0
// What users' own networks do beside the usual: shared layers, calls in place, tokens, other arithmetic,
// several outputs.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "patterns.hpp"
#include "sparsify/onnx/check.hpp"
#include "trained.hpp"

namespace nn = torch::nn;
using namespace sparsify;
using namespace sparsify::onnx;
using namespace sparsify::onnx::testing;
using at::Tensor;

namespace {

const std::vector<Pattern>& rare_patterns() {
  using N = BuiltImpl;
  using T = const Tensor&;
  static const std::vector<Pattern> all = {
      {"linear layers on tokens",
       [](N& n, T x) {
         const auto tokens = n.layer("a", x, 8, 3, 2).relu().flatten(2).transpose(1, 2);
         return n.linear("c", n.linear("b", tokens, 8).relu(), 8).mean(1);
       }},
      {"neither bias nor batch-norm",
       [](N& n, T x) { return n.conv("b", n.conv("a", x, 8, 3, 1, 1, false).relu(), 8, 3, 1, 1, false); }},
      {"layers used twice",
       [](N& n, T x) {
         const auto a = n.conv("b", n.layer("a", x, 8).relu(), 8).relu();
         const auto mean = n.conv("b", a, 8).relu().mean({2, 3});
         return n.linear("d", n.linear("d", mean, 8).relu(), 8).relu();
       }},
      {"calls in place",
       [](N& n, T x) {
         auto a = n.layer("a", x, 8).relu_();
         auto b = n.layer("b", a, 8);
         b += a;
         auto c = n.layer("c", b.relu_(), 8);
         auto d = n.layer("d", torch::silu_(c), 8);
         return n.layer("e", torch::leaky_relu_(d, 0.1), 8).relu_();
       },
       {"QLinearAdd", "QLinearSigmoid", "QLinearMul", "QLinearLeakyRelu"}},
      {"pixel shuffle",
       [](N& n, T x) {
         return n.layer("b", torch::pixel_shuffle(n.layer("a", x, 8, 3, 2).relu(), 2), 8).relu();
       }},
      {"parts of unequal size",
       [](N& n, T x) {
         const auto parts = n.layer("a", x, 8).relu().split_with_sizes({3, 5}, 1);
         return n.layer("b", torch::cat({parts[1], n.layer("c", parts[0], 4).relu()}, 1), 8).relu();
       }},
      {"unbind, select and stack",
       [](N& n, T x) {
         const auto a = n.layer("a", x, 8).relu();
         const auto channels = a.unbind(1);
         return n.layer("b", torch::stack({channels[0], channels[3], a.select(1, 5)}, 1), 8).relu();
       }},
      {"replication padding",
       [](N& n, T x) {
         return n.layer("b", torch::replication_pad2d(n.layer("a", x, 8).relu(), {1, 2, 0, 1}), 8).relu();
       },
       {},
       {{"Pad", 1}}},
      {"dropout before and after the activation",
       [](N& n, T x) {
         const auto a = torch::dropout(n.layer("a", x, 8), 0.1, n.is_training()).relu();
         return n.layer("b", torch::dropout(a, 0.1, n.is_training()), 8).relu();
       },
       {},
       {{"QuantizeLinear", 1}}},
      {"arithmetic with constants",
       [](N& n, T x) {
         auto a = n.layer("a", x, 8) * 2 + 1;
         a = n.layer("b", a, 8) - 0.5;
         a = n.layer("c", a, 8) / 3;
         return n.layer("d", a, 8).relu();
       },
       {},
       {{"Div", 1}, {"Mul", 1}, {"Sub", 1}}},
      {"clippings on one side",
       [](N& n, T x) {
         auto a = torch::clamp_max(n.layer("a", x, 8), 1);
         a = torch::clamp_min(n.layer("b", a, 8), -0.5);
         a = torch::clamp(n.layer("c", a, 8), std::nullopt, 0.5);
         return n.layer("d", a, 8).relu();
       },
       {},
       {{"Clip", 3}}},
      {"softmax between layers",
       [](N& n, T x) { return n.layer("b", torch::softmax(n.layer("a", x, 8), 1), 8).relu(); },
       {"QLinearSoftmax"},
       {},
       {},
       {},
       0.03},
      {"product of two layers",
       [](N& n, T x) { return n.layer("c", n.layer("a", x, 8).relu() * n.layer("b", x, 8), 8).relu(); },
       {"QLinearMul"}},
      {"average pooling over edges",
       [](N& n, T x) {
         auto a = torch::avg_pool2d(n.layer("a", x, 8).relu(), 3, 2, 1, true, true);
         a = torch::avg_pool2d(n.layer("b", a, 8).relu(), 2, 2, 0, true, true);
         return n.layer("d", torch::avg_pool2d(n.layer("c", a, 8).relu(), 3, 2, 1, false, false), 8).relu();
       },
       {"QLinearAveragePool"},
       {{"Pad", 1}}},
      {"adaptive max-pool",
       [](N& n, T x) {
         const auto a = std::get<0>(torch::adaptive_max_pool2d(n.layer("a", x, 8).relu(), {4, 4}));
         return n.layer("b", a, 8).relu();
       }},
      {"stacked maps",
       [](N& n, T x) {
         const auto both = torch::stack({n.layer("a", x, 8).relu(), n.layer("b", x, 8).relu()}, 2);
         return n.layer("c", both.flatten(1, 2), 8).relu();
       }},
      {"group norm between layers",
       [](N& n, T x) { return n.layer("b", n.group_norm("g", n.conv("a", x, 8), 2).relu(), 8).relu(); },
       {},
       {{"InstanceNormalization", 1}}},
      {"nearest upsampling by a fraction",
       [](N& n, T x) {
         return n.layer("b", torch::upsample_nearest2d(n.layer("a", x, 8, 3, 2).relu(), {12, 12}), 8).relu();
       }},
      {"channel shuffle",
       [](N& n, T x) {
         const auto a = n.layer("a", x, 8).relu();
         const auto groups = a.view({a.size(0), 2, 4, a.size(2), a.size(3)});
         return n.layer("b", groups.transpose(1, 2).reshape(a.sizes()), 8, 3, 1, 2).relu();
       }},
  };
  return all;
}

// Gives logits, a feature map that a quantized layer reads too, and what a convolution computes last.
struct HeadsImpl : nn::Module {
  HeadsImpl() {
    register_module("stem", stem), register_module("body", body), register_module("head", head);
    register_module("fc", fc);
  }
  std::vector<Tensor> forward(const Tensor& x) {
    const auto features = torch::relu(stem(x));
    return {fc(torch::relu(body(features)).mean({2, 3})), features, head(features)};
  }
  nn::Conv2d stem{nn::Conv2dOptions(3, 8, 3)}, body{nn::Conv2dOptions(8, 8, 3)},
      head{nn::Conv2dOptions(8, 2, 1)};
  nn::Linear fc{8, 4};
};
TORCH_MODULE(Heads);

}  // namespace

TEST_CASE("target cpu, rare patterns: what the plan marks is an integer kernel, and computes the same") {
  check_on_cpu(rare_patterns());
}

TEST_CASE("target gpu, rare patterns: the file keeps TensorRT's rules, and computes the same") {
  check_on_gpu(rare_patterns());
}

TEST_CASE(
    "of several outputs a convolution's stays float, and a rounded feature map leaves the file rounded") {
  const auto target = GENERATE(Target::kCpu, Target::kGpu);
  INFO(name(target));
  torch::manual_seed(6);
  const Folder folder;
  const auto images = torch::randn({8, 3, 12, 12});
  Calibrated<Heads> calibrated(Heads(), target, images);
  const auto quantization = calibrated.quantization();
  ExportOptions options;
  options.target = target;
  const auto report = export_model(*calibrated.net, images, options, folder / "model.onnx", &quantization);
  check_model(folder / "model.onnx");
  REQUIRE(report.unquantized.size() == 1);
  CHECK(report.unquantized[0].site == "head");
  CHECK(report.unquantized[0].rule == "float-output");
  check_form(report, target);

  Engine engine(folder / "model.onnx", comparison_options(target));
  CHECK(engine.output_names() == std::vector<std::string>{"output", "output_1", "output_2"});
  const auto actual = engine.run(std::vector<Tensor>{images});
  const auto expected = calibrated.session->evaluate([&] { return calibrated.net->forward(images); });
  CHECK(largest_difference(actual[0], expected[0]) < 0.05 * expected[0].std().item<double>());
  CHECK(largest_difference(actual[2], expected[2]) < 0.05 * expected[2].std().item<double>());
  const double step = quantization.activations[1].scale.item<double>();
  REQUIRE(quantization.plan.activations[1].site == "stem.weight/relu#0");
  const auto steps = actual[1].to(torch::kDouble) / step;
  CHECK(largest_difference(steps, steps.round()) < 1e-3);
  CHECK(largest_difference(actual[1], expected[1]) < 1.6 * step);
  CHECK((actual[1] - expected[1]).abs().to(torch::kDouble).mean().item<double>() < 0.3 * step);

  const torch::NoGradGuard no_grad;  // in integers
  const auto exact = calibrated.session->evaluate([&] { return calibrated.net->forward(images); });
  for (std::size_t i = 0; target == Target::kCpu && i < exact.size(); ++i)
    CHECK(largest_difference(actual[i], exact[i]) < 1e-5 * exact[i].abs().max().item<double>());
}
