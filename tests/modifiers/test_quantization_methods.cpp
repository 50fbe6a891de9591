// SPDX-License-Identifier: Apache-2.0
// Quantization beyond ranges of batches: learned scales, calibration before and without training, bias
// correction, cross-layer equalization, one scale for a whole weight, symmetric activations.
#include <torch/torch.h>

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "sparsify/modifiers/magnitude_pruning.hpp"
#include "sparsify/modifiers/quantization.hpp"
#include "sparsify/quantization/bias_correction.hpp"
#include "sparsify/quantization/equalize.hpp"
#include "sparsify/session.hpp"
#include "training.hpp"

namespace nn = torch::nn;
using namespace sparsify;
using Catch::Approx;
using Catch::Matchers::ContainsSubstring;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// The gradients that learned rounding gives to x and to the scale.
std::pair<at::Tensor, double> learned_gradients(const at::Tensor& values, const Grid& grid,
                                                const at::Tensor& incoming) {
  auto x = values.detach().clone().requires_grad_(true), scale = torch::zeros({}).requires_grad_(true);
  fake_quantize_learned(x, scale, grid).backward(incoming);
  return {x.grad(), scale.grad().item<double>()};
}

Quantizers one_quantizer(const ActivationRange& range, const Extent& extent) {
  QuantizationPlan plan;
  plan.scheme = "cpu";
  plan.activations.push_back({"input#0", range, false});
  Quantizers quantizers(std::move(plan));
  quantizers.ranges()[0].set(extent);
  return quantizers;
}

struct Quantized {
  explicit Quantized(const Quantization::Options& options, double learning_rate = 0.01)
      : optimizer(net->parameters(), torch::optim::SGDOptions(learning_rate)) {
    Recipe recipe;
    recipe.add<Quantization>(options);
    session = std::make_unique<Session>(recipe, *net, optimizer, 2);
  }
  at::Tensor step(const at::Tensor& images, const at::Tensor& labels) {
    auto step = session->begin_step();
    optimizer.zero_grad();
    auto output = step.forward([&] { return net->forward(images); });
    step.loss(torch::cross_entropy_loss(output, labels)).backward();
    step.optimize();
    return output.detach();
  }
  const Quantization& modifier() const { return *session->find<Quantization>(); }
  TrainedQuantization trained() const { return modifier().trained(session->state()); }
  std::vector<float> scales() const {
    std::vector<float> all;
    for (const auto& activation : trained().activations) all.push_back(activation.scale.item<float>());
    return all;
  }

  nn::Sequential net = test::conv_net();
  torch::optim::SGD optimizer;
  std::unique_ptr<Session> session;
};

at::Tensor maxima(const at::Tensor& weight, std::int64_t dimension) {
  return weight.detach().transpose(0, dimension).flatten(1).abs().amax(1);
}

}  // namespace

TEST_CASE("the gradient of a learned scale: by hand, with infinities, and against LibTorch's operator") {
  // In units of the scale: -2, 0.6, 1.48, 18; on levels 0 to 3: 0, 1, 1, 3. Four features, three levels above
  // 0.
  const Grid small{0.5f, 0, 0, 3};
  const auto incoming = torch::tensor({1.0f, 2.0f, 3.0f, 4.0f});
  const auto [of_x, of_scale] = learned_gradients(torch::tensor({-1.0f, 0.3f, 0.74f, 9.0f}), small, incoming);
  CHECK(torch::equal(of_x, torch::tensor({0.0f, 2.0f, 3.0f, 0.0f})));
  CHECK(of_scale == Approx((2 * 0.4 - 3 * 0.48 + 4 * 3) / std::sqrt(4.0 * 3.0)));
  CHECK(learned_gradients(torch::tensor({-kInfinity, 0.3f, 0.74f, kInfinity}), small, incoming).second ==
        Approx(of_scale));

  torch::manual_seed(0);
  const bool is_signed = GENERATE(false, true);
  const Grid grid = is_signed ? Grid{0.011f, 0, -128, 127} : Grid{0.009f, 97, 0, 255};
  auto values = torch::randn({4, 6, 5, 5}).contiguous(at::MemoryFormat::ChannelsLast);
  if (GENERATE(false, true)) values = torch::randn({4, 12, 5, 5}).slice(1, 0, 12, 2);  // with gaps
  const auto gradient = torch::randn({4, 6, 5, 5});
  auto x = values.detach().clone().requires_grad_(true), s = torch::tensor({grid.scale}).requires_grad_(true);
  const auto factor = 1 / std::sqrt(6 * 5 * 5 * static_cast<double>(grid.highest - grid.zero_point));
  const auto expected = at::_fake_quantize_learnable_per_tensor_affine(
      x, s, torch::tensor({static_cast<float>(grid.zero_point)}), grid.lowest, grid.highest, factor);
  expected.backward(gradient);
  CHECK(torch::allclose(fake_quantize_learned(values, torch::zeros({}), grid), expected, 1e-5, 1e-6));
  const auto [x_gradient, scale_gradient] = learned_gradients(values, grid, gradient);
  CHECK(torch::equal(x_gradient, x.grad()));
  CHECK(scale_gradient == Approx(s.grad().item<double>()).epsilon(1e-3).margin(1e-4));
}

TEST_CASE("learned scales find the least error from far off, and never leave the positive side") {
  torch::manual_seed(1);
  const auto x = torch::randn({1, 4096});
  const bool symmetric = GENERATE(false, true);
  const ActivationRange range = symmetric ? ActivationRange{-8, 7, true} : ActivationRange{0, 15, false};
  auto quantizers = one_quantizer(range, {-12, 12});
  const auto zero_point = quantizers.grid(0).zero_point;
  LearnedScales scales;
  const auto error = [&](const Grid& grid) {
    return (fake_quantize(x, grid) - x).square().mean().item<double>();
  };
  for (int i = 0; i < 400; ++i) {
    scales.begin(quantizers);
    (fake_quantize_learned(x, scales.gradients()[0], quantizers.grid(0)) - x).square().sum().backward();
    scales.step(quantizers, 2e-4);
  }
  double least = 1e30;
  for (float scale = 0.05f; scale < 2; scale += 0.01f)
    least = std::min(least, error({scale, zero_point, range.lowest, range.highest}));
  CHECK(error(quantizers.grid(0)) < 1.05 * least);
  CHECK(quantizers.grid(0).zero_point == zero_point);
  const auto before = quantizers.grid(0).scale;
  scales.begin(quantizers);
  fake_quantize_learned(x, scales.gradients()[0], quantizers.grid(0)).square().sum().backward();
  scales.step(quantizers, 1e6);
  CHECK(quantizers.grid(0).scale == Approx(before / 2));
  fake_quantize_learned(x, scales.gradients()[0], quantizers.grid(0)).sum().mul(kInfinity).backward();
  scales.step(quantizers, 1e6);
  CHECK(quantizers.grid(0).scale == Approx(before / 2));
}

TEST_CASE("learned scales go on from a saved state with the very grids they had") {
  torch::manual_seed(2);
  QuantizationPlan plan;
  plan.scheme = "cpu";
  for (int i = 0; i < 300; ++i) plan.activations.push_back({"input#" + std::to_string(i), {0, 255, false}});
  Quantizers quantizers(plan);
  for (auto& range : quantizers.ranges()) {
    const auto ends = torch::rand({2});
    range = {{-ends[0].item<float>(), ends[1].item<float>()}, 1};
  }
  quantizers.ranges().back().batches = 0;  // not learned yet
  LearnedScales scales, resumed;
  scales.begin(quantizers);
  auto before = quantizers.ranges();
  resumed.load(scales.state());
  CHECK(resumed.learns(0));
  CHECK_FALSE(resumed.learns(299));
  resumed.begin(quantizers);
  for (std::size_t i = 0; i < before.size(); ++i) {
    CHECK(quantizers.ranges()[i].extent.low == before[i].extent.low);
    CHECK(quantizers.ranges()[i].extent.high == before[i].extent.high);
  }
}

TEST_CASE("observer lsq: scales move by gradient, go on where they were saved, and stop") {
  Quantization::Options options;
  options.observer = "lsq", options.calibration_steps = 1, options.start_epoch = 1;
  options.disable_quantization_observer_epoch = 4;  // steps 1 calibrates, 2 to 7 learn
  Quantized whole(options, 0.05), first(options, 0.05), second(options, 0.05);
  torch::manual_seed(2);
  std::vector<std::pair<at::Tensor, at::Tensor>> batches;
  for (int i = 0; i < 10; ++i) batches.push_back(test::batch(16));
  std::vector<std::vector<float>> seen;
  for (const auto& [images, labels] : batches) {
    whole.step(images, labels);
    if (whole.session->state().step > 1) seen.push_back(whole.scales());
  }
  const auto moved = [&](std::size_t from, std::size_t to) {
    int count = 0;
    for (std::size_t i = 0; i < seen[from].size(); ++i) count += seen[from][i] != seen[to][i];
    return count;
  };
  const auto all = static_cast<int>(seen[0].size());
  CHECK(moved(1, 2) > all / 2);
  CHECK(moved(1, 6) == all);
  CHECK(moved(6, 8) == 0);
  const auto input = whole.trained().activations.front();
  CHECK(input.zero_point.item<int>() > 20);  // the images' range is not symmetric about 0, nor above it
  for (int i = 0; i < 5; ++i) first.step(batches[i].first, batches[i].second);
  {
    const torch::NoGradGuard no_grad;
    auto to = second.net->named_parameters();
    for (const auto& from : first.net->named_parameters()) to[from.key()].copy_(from.value());
    auto buffers = second.net->named_buffers();
    for (const auto& from : first.net->named_buffers()) buffers[from.key()].copy_(from.value());
  }
  second.session->load_state_dict(first.session->state_dict());
  for (int i = 5; i < 10; ++i) second.step(batches[i].first, batches[i].second);
  CHECK(second.scales() == seen.back());

  auto other = options;
  other.scale_learning_rate = 0;
  Quantized still(other);
  for (int i = 0; i < 6; ++i) still.step(batches[i].first, batches[i].second);
  CHECK(still.scales()[0] == Approx(seen[0][0]).epsilon(1e-6));
  other.observer = "mse", other.scale_learning_rate = 0.1;
  CHECK_THROWS_WITH(Quantized(other), ContainsSubstring("scale_learning_rate: is for observer: lsq"));
}

TEST_CASE("calibration steps observe in floating point; rounding begins with their ranges") {
  Quantization::Options options;
  options.start_epoch = 2, options.calibration_steps = 2, options.averaging_constant = 0.5;
  options.observer =
      GENERATE(std::string("moving_average_minmax"), std::string("minmax"), std::string("mse"));
  Quantized quantized(options, 0), plain({.start_epoch = 100}, 0);
  const auto [images, labels] = test::batch(8);
  const double sizes[] = {50, 50, 1, 3};
  for (int i = 0; i < 4; ++i) {
    CHECK(torch::equal(quantized.step(images * sizes[i], labels), plain.step(images * sizes[i], labels)));
    if (i < 3) CHECK_FALSE(quantized.modifier().active());
  }
  const auto& extent = quantized.modifier().quantizers().ranges()[0].extent;
  const auto high = images.max().item<double>();
  if (options.observer == "moving_average_minmax") CHECK(extent.high == Approx(2 * high));
  if (options.observer == "minmax") CHECK(extent.high == Approx(3 * high));
  if (options.observer == "mse") CHECK((extent.high > 1.5 * high && extent.high < 3.01 * high));
  CHECK_FALSE(torch::equal(quantized.step(images, labels), plain.step(images, labels)));
  CHECK(quantized.modifier().active());

  // Too early a start is put off: step 0 is recorded, 1 to 3 are observed.
  options.start_epoch = 0, options.calibration_steps = 3;
  Quantized early(options, 0), reference({.start_epoch = 100}, 0);
  for (int i = 0; i < 5; ++i) {
    const bool same = torch::equal(early.step(images, labels), reference.step(images, labels));
    CHECK(same == (i < 4));
  }
  options.calibration_steps = -1;
  CHECK_THROWS_WITH(Quantized(options), ContainsSubstring("calibration_steps: expected a number >= 0"));
}

TEST_CASE("a recipe applied once prunes to its final sparsity, calibrates, and can be saved") {
  GradualPruning::Options pruning;
  pruning.window = {1, 5}, pruning.final_sparsity = 0.75, pruning.exclude = {"0.weight"};
  Quantization::Options options;
  options.start_epoch = 6, options.disable_quantization_observer_epoch = 7;
  Recipe recipe;
  recipe.add<MagnitudePruning>(pruning);
  recipe.add<Quantization>(options);
  auto net = test::conv_net();
  net->eval();
  torch::optim::SGD optimizer(net->parameters(), 0.1);
  const auto before = test::weight_of(net, "3.weight").detach().clone();
  Session session(recipe, *net, optimizer, 100);
  const auto images = test::batch(8).first;
  session.apply_once([&] { net->forward(images); });
  const auto after = test::weight_of(net, "3.weight").detach();
  CHECK(test::sparsity(after) == Approx(0.75).margin(1e-3));
  CHECK(torch::equal(after, before * (after != 0)));
  CHECK(after.masked_select(after != 0).abs().min().item<float>() >=
        before.masked_select(after == 0).abs().max().item<float>());
  CHECK(test::sparsity(test::weight_of(net, "0.weight")) == 0);
  const torch::NoGradGuard no_grad;
  const auto floating = net->forward(images);
  CHECK_THROWS_WITH(session.finish(), ContainsSubstring("nothing was quantized"));
  session.calibrate([&] { net->forward(images); });
  CHECK(torch::equal(session.evaluate([&] { return net->forward(images); }), floating) ==
        !session.find<Quantization>()->active());
  session.calibrate([&] { net->forward(images); });
  session.finish();
  const auto rounded = session.evaluate([&] { return net->forward(images); });
  CHECK_FALSE(torch::equal(rounded, floating));
  CHECK(torch::allclose(rounded, floating, 0.1, 0.02));
  Session again(recipe, *net, optimizer, 100);
  again.load_state_dict(session.state_dict());
  CHECK(torch::equal(again.evaluate([&] { return net->forward(images); }), rounded));
}

TEST_CASE("bias correction takes the mean error of each channel from its bias, or from batch-norm's beta") {
  torch::manual_seed(3);
  nn::Sequential net(nn::Conv2d(nn::Conv2dOptions(3, 8, 3).padding(1).bias(false)), nn::BatchNorm2d(8),
                     nn::ReLU(), nn::Conv2d(nn::Conv2dOptions(8, 6, 3)), nn::ReLU(), nn::AdaptiveAvgPool2d(1),
                     nn::Flatten(), nn::Linear(nn::LinearOptions(6, 4).bias(false)));
  net->eval();
  const torch::NoGradGuard no_grad;
  auto p = net->named_parameters();
  p["1.weight"].uniform_(0.5, 2), p["1.bias"].normal_(), p["1.weight"][2] = -0.7;
  p["0.weight"][5].zero_();  // dead
  Quantization::Options options;
  options.weight_bits = Value::mapping({{"3", Value("Conv2d")}});
  Recipe recipe;
  recipe.add<Quantization>(options);
  torch::optim::SGD optimizer(net->parameters(), 0.1);
  Session session(recipe, *net, optimizer, 1);
  const auto images = torch::rand({GENERATE(1, 16), 3, 8, 8});
  for (int i = 0; i < 3; ++i) session.calibrate([&] { net->forward(images); });
  const auto& quantization = *session.find<Quantization>();
  const auto trained = quantization.trained(session.state());
  // The mean that the two convolutions' outputs have in floating point, and rounded.
  const auto means = [&](bool rounded) {
    std::vector<at::Tensor> of_layers;
    auto x = images;
    for (int i = 0; i < 2; ++i) {
      const auto weight = p[i == 0 ? "0.weight" : "3.weight"];
      const auto& by = trained.activations[trained.plan.weights[i].input];
      const auto read = rounded ? at::fake_quantize_per_tensor_affine(x, by.scale.item<float>(),
                                                                      by.zero_point.item<int>(), 0, 255)
                                : x;
      const auto& w = trained.weights[i];
      const auto used =
          rounded ? at::fake_quantize_per_channel_affine(weight, w.scale, w.zero_point, 0, -3, 3) : weight;
      of_layers.push_back(torch::conv2d(read, used, {}, 1, i == 0 ? 1 : 0).mean({0, 2, 3}));
      if (i == 0) x = torch::relu(net[1]->as<nn::BatchNorm2d>()->forward(torch::conv2d(x, weight, {}, 1, 1)));
    }
    return of_layers;
  };
  const auto floating = means(false), rounded = means(true);
  const auto beta = p["1.bias"].clone(), bias = p["3.bias"].clone();
  const auto factor = p["1.weight"] / torch::sqrt(net->named_buffers()["1.running_var"] + 1e-5);
  const auto exact = net->forward(images);
  const auto error_of = [&] {
    return (session.evaluate([&] { return net->forward(images); }).mean(0) - exact.mean(0))
        .norm()
        .item<double>();
  };
  const auto error = error_of();
  BiasCorrection correction(quantization.quantizers(), session.state().parameters, session.state().buffers);
  CHECK_THROWS_WITH(correction.correct(), ContainsSubstring("no quantized layer was seen"));
  for (int i = 0; i < 2; ++i) {
    correction.begin();
    const ModeGuard guard(correction);
    CHECK(torch::equal(net->forward(images), exact));
  }
  CHECK(correction.correct() == std::vector<std::string>{"7.weight"});
  CHECK(torch::allclose(p["1.bias"], beta - (rounded[0] - floating[0]) * factor, 1e-4, 1e-5));
  CHECK(torch::allclose(p["3.bias"], bias - (rounded[1] - floating[1]), 1e-4, 1e-5));
  CHECK((p["1.bias"] - beta).abs().max().item<double>() > 1e-3);
  CHECK(p["1.bias"][5].item<float>() == beta[5].item<float>());
  CHECK(error_of() < 0.8 * error);
}

TEST_CASE("equalized layers have channels of one reach in both weights, and compute the same") {
  torch::manual_seed(4);
  const bool norm = GENERATE(false, true);
  nn::Sequential net(nn::Conv2d(3, 8, 3));
  if (norm) net->push_back(nn::BatchNorm2d(8));
  net->push_back(nn::LeakyReLU(nn::LeakyReLUOptions().negative_slope(0.1)));
  net->push_back(nn::Conv2d(nn::Conv2dOptions(8, 8, 3).groups(4)));
  net->push_back(nn::ReLU()), net->push_back(nn::AdaptiveAvgPool2d(1)), net->push_back(nn::Flatten());
  net->push_back(nn::Linear(8, 5)), net->push_back(nn::Sigmoid()), net->push_back(nn::Linear(5, 5));
  net->eval();
  const torch::NoGradGuard no_grad;
  auto p = net->named_parameters();
  const std::string second = norm ? "3" : "2", third = norm ? "7" : "6";
  p["0.weight"].mul_(torch::logspace(-2, 1, 8).view({8, 1, 1, 1}));
  p["0.weight"][6].zero_();  // dead: stays as it is
  if (norm) p["1.weight"].uniform_(0.5, 2), p["1.bias"].normal_(), p["1.weight"][1] = -0.7;
  const auto x = torch::randn({4, 3, 9, 9});
  const auto before = net->forward(x);
  const auto reach = [&] { return (p["1.bias"].abs() + 3 * p["1.weight"].abs()).max().item<double>(); };
  const double reached = norm ? reach() : 0;
  const auto ratio = norm ? p["1.bias"] / p["1.weight"] : at::Tensor();
  const auto pairs = equalize(record(*net, x));
  REQUIRE(pairs.size() == 2);  // not through the sigmoid
  CHECK(pairs[0].first == "0.weight");
  CHECK(pairs[0].second == second + ".weight");
  CHECK(pairs[1].second == third + ".weight");
  CHECK(torch::allclose(net->forward(x), before, 1e-4, 1e-5));
  // Input channel c of the grouped convolution is input c % 2 of the outputs 2 (c / 2) and one after.
  const auto grouped = p[second + ".weight"].view({4, 2, 2, 9}).abs().amax({1, 3}).flatten();
  auto folded = maxima(p["0.weight"], 0);
  if (!norm) {
    CHECK(folded[6].item<float>() == 0);
    folded[6] = grouped[6];
    CHECK(torch::allclose(folded, grouped, 1e-2));
  } else {
    CHECK(torch::allclose(p["1.bias"] / p["1.weight"], ratio, 1e-4, 1e-5));
    CHECK(reach() < 1.0001 * reached);  // quiet channels are not raised beyond what the others reach
    folded *= p["1.weight"].abs() / torch::sqrt(net->named_buffers()["1.running_var"] + 1e-5);
    CHECK((folded < 1.01 * grouped).all().item<bool>());
    CHECK((folded > 0.99 * grouped).any().item<bool>());
  }
  CHECK(torch::allclose(maxima(p[second + ".weight"], 0), maxima(p[third + ".weight"], 1), 1e-2));
}

TEST_CASE("what others read too, or a second use of a weight, is not equalized") {
  struct Net : nn::Module {
    Net() { register_module("a", a), register_module("b", b), register_module("c", c); }
    at::Tensor forward(const at::Tensor& x) {
      const auto y = torch::relu(a(x));
      return c(torch::relu(b(y)) + y) + c(y);
    }
    nn::Conv2d a{nn::Conv2dOptions(3, 4, 1)}, b{nn::Conv2dOptions(4, 4, 1)}, c{nn::Conv2dOptions(4, 4, 1)};
  } net;
  const auto before = net.a->weight.detach().clone();
  CHECK(equalize(record(net, torch::randn({1, 3, 4, 4}))).empty());
  CHECK(torch::equal(net.a->weight, before));
}

TEST_CASE("one scale for a whole weight is one after batch-norm is folded, whatever its factors") {
  torch::manual_seed(5);
  auto weight = torch::randn({4, 3, 3, 3});
  weight[2].zero_();
  const Folded folded{{2, -0.5, 3, 0}, {1, 1, 1, 1}};
  const auto scales = tensor_weight_scales(weight, folded, 0.02, 127);
  const auto factor = torch::tensor(folded.k, torch::kDouble).abs().to(torch::kFloat);
  const auto common = (maxima(weight, 0) * factor).max() / 127;
  for (const int c : {0, 1, 2}) CHECK((scales[c] * factor[c]).item<float>() == Approx(common.item<float>()));
  CHECK(scales[3].item<float>() > 0);
  const auto real = weight * torch::tensor({2.0f, -0.5f, 3.0f, 0.0f}).view({4, 1, 1, 1});
  const auto expected = at::fake_quantize_per_tensor_affine(real, common.item<float>(), 0, -127, 127);
  const auto rounded =
      fake_quantize_weight(weight, scales, 127) * torch::tensor({2.0f, -0.5f, 3.0f, 0.0f}).view({4, 1, 1, 1});
  CHECK(torch::allclose(rounded, expected, 1e-4, 1e-6));
  // A bias too large for 32 bits raises it.
  const auto raised = tensor_weight_scales(weight * 1e-12, folded, 0.02, 127);
  CHECK(raised[0].item<float>() * 2 == Approx(1 / (0.02 * (1 << 30))));

  auto net = test::conv_net();
  const auto graph = record(*net, torch::randn({1, 3, 8, 8}));
  const auto plan_of = [&](const Value& strategy) {
    SchemeOptions options;
    read_weight_strategy(strategy, options);
    return plan_from_text(to_text(make_plan(graph, "cpu", {}, {}, options)));
  };
  for (const auto& layer : plan_of("tensor").weights) CHECK(layer.per_tensor);
  const auto mixed = plan_of(Value::mapping({{"tensor", Value("Linear")}}));
  REQUIRE(mixed.weights.size() == 4);
  for (const auto& layer : mixed.weights) CHECK(layer.per_tensor == (layer.site == "9.weight"));
  CHECK_THROWS_WITH(plan_of("group"), ContainsSubstring("weight_strategy: expected channel, tensor"));
  CHECK_THROWS_WITH(plan_of(Value::mapping({{"channel", Value("Linear")}})),
                    ContainsSubstring("the key tensor"));
}

TEST_CASE(
    "symmetric activations: a zero point in the middle for what may be negative, at its end for the rest") {
  const ActivationRange range{0, 255, true};
  const auto grid = make_grid({-1, 3}, range, false);
  CHECK(grid.zero_point == 128);
  CHECK(grid.scale == Approx(3.0 / 127));
  CHECK(make_grid({0, 3}, range, true).zero_point == 0);
  CHECK(make_grid({0, 3}, range, true).scale == Approx(3.0 / 255));
  CHECK(make_grid({-4, 3}, {-128, 127, true}, false).scale == Approx(4.0 / 127));

  Quantization::Options options;
  options.symmetric_activations = Value::boolean(true);
  Quantized quantized(options, 0);
  const auto [images, labels] = test::batch(8);
  for (int i = 0; i < 2; ++i) quantized.step(images, labels);
  const auto trained = quantized.trained();
  for (std::size_t i = 0; i < trained.activations.size(); ++i)
    CHECK(trained.activations[i].zero_point.item<int>() ==
          (trained.plan.activations[i].non_negative ? 0 : 128));
  options.scheme = "gpu", options.symmetric_activations = Value::boolean(false);
  CHECK_THROWS_WITH(Quantized(options), ContainsSubstring("GPU engines have no zero points"));
}
