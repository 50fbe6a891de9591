// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_all.hpp>
#include <cmath>

#include "integer_reference.hpp"
#include "sparsify/onnx/check.hpp"
#include "sparsify/onnx/inspect.hpp"
#include "sparsify/onnx/lint.hpp"
#include "sparsify/onnx/parity.hpp"
#include "support.hpp"
#include "trained.hpp"

namespace nn = torch::nn;
using namespace sparsify;
using namespace sparsify::onnx;
using namespace sparsify::onnx::testing;
using at::Tensor;
using Catch::Matchers::ContainsSubstring;

namespace {

nn::Conv2d conv(std::int64_t in, std::int64_t out, std::int64_t kernel, std::int64_t stride = 1,
                std::int64_t groups = 1, bool bias = false) {
  return nn::Conv2d(
      nn::Conv2dOptions(in, out, kernel).stride(stride).padding(kernel / 2).groups(groups).bias(bias));
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
    return fc(x.mean({2, 3}));
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
  const auto how = comparison_options(target);
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

  Quantization::Options options;
  options.weight_bits = Value::mapping({{"4", Value("b2")}, {"8", Value("__ALL__")}});
  Trained<SmallResNet> mixed(options, 40);
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

namespace {

// An exported file in ONNX Runtime beside exact integer arithmetic: every tensor, and every decision.
template <class Net>
std::vector<TensorParity> compare_with_integers(Trained<Net>& trained, Target target, const std::string& file,
                                                const Tensor& images) {
  ExportOptions options;
  options.target = target;
  const auto quantization = trained.quantization();
  const auto report = export_model(*trained.net, images.slice(0, 0, 2), options, file, &quantization);
  const auto how = comparison_options(target);
  IntegerReference reference(file);
  const auto expected = reference.run(images);
  const auto actual = Engine(file, how).run(images);
  CHECK((actual.argmax(1) == expected.argmax(1)).all().item<bool>());
  bool more = true;
  return compare_tensors(
      report.rounded, steps_in_onnxruntime(file, report.rounded, how),
      [&](const Tensor& x) { return reference.steps(x, report.rounded); },
      [&](Tensor& input, Tensor&) { return input = images, std::exchange(more, false); });
}

}  // namespace

TEST_CASE("ONNX Runtime computes an exported file's integers as exact arithmetic does") {
  const Folder folder;
  const auto file = (folder / "model.onnx").string();
  // For cpu every integer of a residual network is the same; the pyramid has activations that are computed in
  // float32 there, and so is all of a gpu file, whose operators run one by one: few integers differ, and all
  // decisions are the same nevertheless.
  const auto check = [&](auto& trained, Target target, double most_different, std::int64_t largest) {
    const auto tensors = compare_with_integers(trained, target, file, stripes(256).first);
    for (const auto& tensor : tensors) {
      INFO(tensor.site << ": " << tensor.different << " of " << tensor.elements << ", by " << tensor.largest);
      CHECK(tensor.share() <= most_different);
      CHECK(tensor.largest <= largest);
      if (target == Target::kCpu && &tensor - tensors.data() < 3)
        CHECK(tensor.different == 0);  // before any sum
    }
  };
  torch::manual_seed(2);
  SECTION("residual network, cpu") {
    Trained<SmallResNet> trained("cpu", 40);
    const bool exact = has_imitated_kernels();
    check(trained, Target::kCpu, exact ? 0 : 1e-4, exact ? 0 : 1);
  }
  SECTION("pyramid, cpu") {
    Trained<SmallPyramid> trained("cpu", 40);
    check(trained, Target::kCpu, 1e-4, 1);
  }
  SECTION("residual network, gpu") {
    Trained<SmallResNet> trained("gpu", 40);
    check(trained, Target::kGpu, 0.001, 2);
  }
  SECTION("pyramid, gpu") {
    Trained<SmallPyramid> trained("gpu", 40);
    check(trained, Target::kGpu, 0.001, 2);
  }
}

namespace {

// What integer kernels there are for: layers with and without batch norm, sums behind which a ReLU follows or
// does not, maxima, averages, gates.
struct ManyKernelsImpl : nn::Module {
  ManyKernelsImpl() {
    for (const auto& [name, convolution] : convolutions) register_module(name, convolution);
    for (const auto& [name, norm] : norms) register_module("bn_" + name, norm);
    register_module("fc", fc);
  }
  Tensor layer(const std::string& name, const Tensor& x) {
    return norms.at(name)->forward(convolutions.at(name)->forward(x));
  }
  Tensor forward(const Tensor& images) {
    auto x = torch::relu(layer("a", images));
    x = torch::relu(layer("b", x).add_(x));
    x = torch::max_pool2d(layer("c", x) + layer("d", x), 2);
    x = torch::hardtanh(convolutions.at("e")->forward(x), 0, 0.75);  // clips, as ReLU6 does
    x = torch::silu(layer("f", x));
    x = x * torch::sigmoid(convolutions.at("g")->forward(torch::adaptive_avg_pool2d(x, {1, 1})));
    return fc(x.mean({2, 3}));
  }
  std::map<std::string, nn::Conv2d> convolutions{{"a", conv(3, 16, 3)},
                                                 {"b", conv(16, 16, 3)},
                                                 {"c", conv(16, 32, 1)},
                                                 {"d", conv(16, 32, 3, 1, 1, true)},
                                                 {"e", conv(32, 32, 3, 1, 1, true)},
                                                 {"f", conv(32, 32, 3)},
                                                 {"g", conv(32, 32, 1, 1, 1, true)}};
  std::map<std::string, nn::BatchNorm2d> norms{{"a", nn::BatchNorm2d(16)},
                                               {"b", nn::BatchNorm2d(16)},
                                               {"c", nn::BatchNorm2d(32)},
                                               {"d", nn::BatchNorm2d(32)},
                                               {"f", nn::BatchNorm2d(32)}};
  nn::Linear fc{32, 4};
};
TORCH_MODULE(ManyKernels);

}  // namespace

TEST_CASE("an evaluation computes every integer as ONNX Runtime does, and so the same outputs") {
  if (!has_imitated_kernels()) SKIP("the kernels imitated are AVX2's");
  torch::manual_seed(2);
  const Folder folder;
  Trained<ManyKernels> trained("cpu", 40);
  {
    const torch::NoGradGuard no_grad;
    trained.net->norms.at("c")->weight.slice(0, 0, 4).mul_(-1);  // what engines have in the weight
    trained.net->norms.at("a")->weight[3] = 0;
  }
  const auto quantization = trained.quantization();
  const auto report =
      export_model(*trained.net, torch::randn({2, 3, 16, 16}), {}, folder / "model.onnx", &quantization);
  check_form(report, Target::kCpu);
  const auto images = stripes(512).first;
  const auto tensors = trained.compare_tensors(report, {}, images);
  REQUIRE(tensors.size() > 15);
  for (const auto& tensor : tensors) {
    INFO(tensor.site << ": " << tensor.different << " of " << tensor.elements << ", by " << tensor.largest);
    CHECK(tensor.different == 0);
  }
  const torch::NoGradGuard no_grad;
  CHECK(torch::allclose(trained.evaluate(images), Engine(report.path).run(images), 1e-6, 1e-6));
}

TEST_CASE("a layer that the plan does not know is exported in floating point, and said so") {
  torch::manual_seed(2);
  const Folder folder;
  Trained<ManyKernels> trained("cpu", 2);
  auto quantization = trained.quantization();
  const auto last = quantization.plan.weights.back().site;
  quantization.plan.weights.pop_back(), quantization.weights.pop_back();
  const auto report =
      export_model(*trained.net, torch::randn({2, 3, 16, 16}), {}, folder / "model.onnx", &quantization);
  REQUIRE(report.unquantized.size() == 1);
  CHECK(report.unquantized[0].site + ".weight" == last);
  CHECK(report.unquantized[0].rule == "not-planned");
}

TEST_CASE("tensors are compared in the order of computation, with the kernels that run the file") {
  torch::manual_seed(2);
  const Folder folder;
  Trained<SmallResNet> trained("cpu", 40);
  const auto quantization = trained.quantization();
  const auto report =
      export_model(*trained.net, torch::randn({2, 3, 16, 16}), {}, folder / "model.onnx", &quantization);
  std::vector<std::string> sites;
  for (const auto& one : report.rounded) sites.push_back(one.site);
  REQUIRE(sites.size() == 10);
  CHECK(std::vector<std::string>(sites.begin(), sites.begin() + 5) ==
        std::vector<std::string>{"input#0", "stem.weight/hardtanh#0", "a1.weight/relu#0",
                                 "a2.weight/batch_norm#0", "a2.weight/relu#0"});
  const auto changed = static_cast<std::size_t>(std::find(sites.begin(), sites.end(), "b1.weight/relu#0") -
                                                sites.begin());  // before or after "down"
  REQUIRE(changed < sites.size());

  expose_tensors(folder / "model.onnx", report.rounded, folder / "exposed.onnx");
  const auto fusion = integer_layers(folder / "model.onnx"),
             exposed = integer_layers(folder / "exposed.onnx");
  CHECK(exposed.kernels == fusion.kernels);
  CHECK(exposed.float_layers.empty());
  CHECK(Engine(folder / "exposed.onnx").output_names().size() == 1 + sites.size());

  const auto images = stripes(64).first;
  const auto same = trained.compare_tensors(report, {}, images);
  REQUIRE(same.size() == sites.size());
  CHECK(same[0].elements == 64 * 3 * 16 * 16);
  CHECK(same[0].different == 0);
  CHECK(std::isinf(same[0].snr()));

  // A model that is not the exported one any more: the layer is found.
  {
    const torch::NoGradGuard no_grad;
    trained.net->norms.at("b1")->bias.add_(
        3 * quantization.activations[report.rounded[changed].quantizer].scale.item<double>());
  }
  const auto other = trained.compare_tensors(report, {}, images);
  for (std::size_t i = 0; i < sites.size(); ++i) {
    INFO(sites[i] << " " << other[i].share());
    if (i < changed) CHECK(other[i].share() == same[i].share());
    if (i != changed) continue;
    CHECK(other[i].share() > 0.2);
    CHECK((other[i].largest >= 3 && other[i].largest <= 4));  // of what differed before, one step more
    CHECK(other[i].snr() < 40);
  }

  const auto nothing = [](const Tensor&) { return Steps{}; };
  bool more = true;
  const auto once = [&](Tensor& input, Tensor&) { return input = images, std::exchange(more, false); };
  CHECK_THROWS_WITH(compare_tensors(report.rounded, nothing, nothing, once), ContainsSubstring("input#0"));
  CHECK_THROWS_WITH(compare_tensors(report.rounded, nothing, nothing, once), ContainsSubstring("nothing"));
  CHECK_THROWS_WITH(expose_tensors(folder / "model.onnx", {{"a", 0, "a1/output"}}, folder / "x.onnx"),
                    ContainsSubstring("'a1/output'"));
}
