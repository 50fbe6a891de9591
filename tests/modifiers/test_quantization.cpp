// SPDX-License-Identifier: Apache-2.0
#include <torch/torch.h>

#include <catch2/catch_approx.hpp>
#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "quantized_by_hand.hpp"
#include "sparsify/session.hpp"

using namespace sparsify;
using namespace sparsify::test;
using Catch::Approx;
using Catch::Matchers::ContainsSubstring;
namespace nn = torch::nn;

namespace {

using Strings = std::vector<std::string>;

// Two residual blocks, one with a projection, with the in-place idioms of torchvision.
struct ResidualBlock : nn::Module {
  ResidualBlock(int in, int out, int stride)
      : conv1(register_module("conv1", conv(in, out, 3, stride))),
        conv2(register_module("conv2", conv(out, out, 3, 1))),
        bn1(register_module("bn1", nn::BatchNorm2d(out))),
        bn2(register_module("bn2", nn::BatchNorm2d(out))) {
    if (in == out) return;
    down = register_module("down", conv(in, out, 1, stride));
    down_bn = register_module("down_bn", nn::BatchNorm2d(out));
  }
  static nn::Conv2d conv(int in, int out, int kernel, int stride) {
    return nn::Conv2d(nn::Conv2dOptions(in, out, kernel).stride(stride).padding(kernel / 2).bias(false));
  }
  at::Tensor forward(const at::Tensor& x) {
    auto out = bn2(conv2(bn1(conv1(x)).relu_()));
    auto identity = down ? down_bn(down(x)) : x;
    out += identity;
    return out.relu_();
  }
  nn::Conv2d conv1, conv2, down{nullptr};
  nn::BatchNorm2d bn1, bn2, down_bn{nullptr};
};

struct SmallNet : nn::Module {
  SmallNet()
      : stem(register_module("stem", ResidualBlock::conv(3, 8, 3, 1))),
        bn(register_module("bn", nn::BatchNorm2d(8))),
        block1(register_module("block1", std::make_shared<ResidualBlock>(8, 8, 1))),
        block2(register_module("block2", std::make_shared<ResidualBlock>(8, 16, 2))),
        fc(register_module("fc", nn::Linear(16, 4))) {}
  at::Tensor forward(const at::Tensor& image) {
    auto x = torch::max_pool2d(bn(stem(image)).relu_(), 2);
    x = block2->forward(block1->forward(x));
    return fc(torch::flatten(torch::adaptive_avg_pool2d(x, {1, 1}), 1));
  }
  nn::Conv2d stem;
  nn::BatchNorm2d bn;
  std::shared_ptr<ResidualBlock> block1, block2;
  nn::Linear fc;
};

Strings quantizer_sites(const QuantizationPlan& plan) {
  Strings sites;
  for (const auto& quantizer : plan.activations) sites.push_back(quantizer.site);
  return sites;
}

// Images whose class is which quadrant is bright.
std::pair<at::Tensor, at::Tensor> images(int count) {
  auto target = torch::arange(count) % 4;
  auto data = torch::randn({count, 3, 8, 8}) * 0.5;
  for (int i = 0; i < count; ++i) {
    const auto label = target[i].item<int>();
    data[i].slice(1, label / 2 * 4, label / 2 * 4 + 4).slice(2, label % 2 * 4, label % 2 * 4 + 4) += 1;
  }
  return {data, target};
}

// Networks this small only lose by threads, above all on a busy machine.
struct OneThread {
  OneThread() { at::set_num_threads(1); }
  ~OneThread() { at::set_num_threads(before); }
  int before = at::get_num_threads();
};

template <class Net>
double train(Session& session, Net& net, torch::optim::Optimizer& optimizer, int steps) {
  const OneThread one_thread;
  double last = 0;
  net.train();
  for (int i = 0; i < steps; ++i) {
    const auto [data, target] = images(32);
    auto step = session.begin_step();
    optimizer.zero_grad();
    auto loss =
        step.loss(torch::cross_entropy_loss(step.forward([&, x = data] { return net.forward(x); }), target));
    loss.backward();
    step.optimize();
    last = loss.template item<double>();
  }
  return last;
}

// By division, as ONNX's QuantizeLinear is defined; aten multiplies by the inverse, which moves ties.
at::Tensor through_quantize_linear(const at::Tensor& x, const Grid& grid) {
  const auto integers = torch::round(x.to(at::kFloat) / grid.scale) + grid.zero_point;
  return (integers.clamp(grid.lowest, grid.highest) - grid.zero_point) * grid.scale;
}

}  // namespace

TEST_CASE(
    "the fused kernel equals QuantizeLinear, and aten's fake quantize in gradients; it notes the extent") {
  const auto dtype = GENERATE(at::kFloat, at::kBFloat16);
  const bool channels_last = GENERATE(false, true);
  const bool in_place = GENERATE(false, true);
  const auto grid = GENERATE(Grid{0.017f, 0, 0, 255}, Grid{0.03f, 77, 0, 255}, Grid{0.021f, 0, -128, 127});
  CAPTURE(dtype, channels_last, in_place, grid.zero_point);
  auto x = torch::randn({3, 7, 61, 59}).mul(2).to(dtype);
  x.flatten()[5] = grid.scale * 2.5f;  // a tie
  if (channels_last) x = x.contiguous(at::MemoryFormat::ChannelsLast);
  auto mine = x.clone().requires_grad_(), theirs = x.clone().to(at::kFloat).requires_grad_();
  Extent seen;
  at::Tensor result;
  if (in_place) {
    result = mine * 1;
    fake_quantize_(result, grid, &seen);
  } else {
    result = fake_quantize(mine, grid, &seen);
  }
  auto expected =
      at::fake_quantize_per_tensor_affine(theirs, grid.scale, grid.zero_point, grid.lowest, grid.highest);
  CHECK(result.strides() == x.strides());
  CHECK(torch::equal(result, through_quantize_linear(x, grid).to(dtype)));
  CHECK(seen.low == x.min().item<float>());
  CHECK(seen.high == x.max().item<float>());
  const auto whole = extent_of(x);
  CHECK((whole.low == seen.low && whole.high == seen.high));
  const auto gradient = torch::randn(x.sizes().vec());  // always NCHW
  result.backward(gradient.to(dtype));
  expected.backward(gradient.to(dtype).to(at::kFloat));
  CHECK(torch::equal(mine.grad().to(at::kFloat), theirs.grad()));
}

TEST_CASE("the fused kernel passes NaN on, takes any layout, and empty tensors") {
  const Grid grid{0.1f, 0, 0, 255};
  auto x = torch::tensor({1.0f, std::nanf(""), -1.0f, 1e30f, std::numeric_limits<float>::infinity()});
  const auto rounded = fake_quantize(x, grid);
  CHECK(rounded[0].item<float>() == Approx(1));
  CHECK(std::isnan(rounded[1].item<float>()));
  CHECK(rounded[2].item<float>() == 0);
  CHECK(rounded[4].item<float>() == Approx(25.5));
  CHECK(std::isnan(fake_quantize(x.to(at::kBFloat16), grid)[1].item<float>()));
  const auto strided = torch::randn({6, 8}).slice(1, 0, 8, 2);
  CHECK(torch::equal(fake_quantize(strided, grid), fake_quantize(strided.contiguous(), grid)));
  CHECK(fake_quantize(torch::empty({0, 3}), grid).numel() == 0);
  CHECK(extent_of(torch::empty({0})).empty());
  const auto half = torch::rand({100}).to(at::kHalf);
  CHECK(torch::equal(fake_quantize(half, grid), fake_quantize(half.to(at::kFloat), grid).to(at::kHalf)));
}

TEMPLATE_TEST_CASE("the wide kernels equal the plain loops bit for bit, whatever the length", "", float,
                   std::uint16_t) {
  using T = TestType;
  const int count = GENERATE(0, 1, 15, 16, 17, 33, 1000);
  std::vector<T> in(count + 1), wide(count + 1), plain(count + 1);                    // never without memory
  std::vector<std::uint8_t> wide_mask((count + 7) / 8), plain_mask((count + 7) / 8);  // a bit each
  const at::Tensor random = torch::randn({count});
  for (int i = 0; i < count; ++i) sparsify::detail::narrow(random[i].item<float>(), in[i]);
  if (count > 20)
    sparsify::detail::narrow(std::nanf(""), in[3]), sparsify::detail::narrow(-1e38f, in[20]),
        sparsify::detail::narrow(0.03125f, in[7]);
  const sparsify::detail::RoundTo to{0.0625f, 0.0625f, -8, 7};
  Extent wide_seen, plain_seen, extent;
  sparsify::detail::round_best<true, true>(in.data(), wide.data(), wide_mask.data(), count, to, wide_seen);
  sparsify::detail::round_span<true, true>(in.data(), plain.data(), plain_mask.data(), count, to, plain_seen);
  sparsify::detail::extent_best(in.data(), count, extent);
  CHECK((std::memcmp(wide.data(), plain.data(), count * sizeof(T)) == 0));
  CHECK(wide_mask == plain_mask);
  CHECK((wide_seen.low == plain_seen.low && wide_seen.high == plain_seen.high));
  CHECK((extent.low == plain_seen.low && extent.high == plain_seen.high));
  std::vector<T> kept(count + 1), plain_kept(count + 1);
  sparsify::detail::keep_best(in.data(), wide_mask.data(), kept.data(), count, 0.5f);
  sparsify::detail::keep_span(in.data(), wide_mask.data(), plain_kept.data(), count, 0.5f);
  CHECK((std::memcmp(kept.data(), plain_kept.data(), count * sizeof(T)) == 0));
  for (int i = 0; i < count; ++i) {  // and both equal the definition
    const float value = sparsify::detail::widen(in[i]);
    if (std::isnan(value)) continue;
    const float integer = std::nearbyint(value * 16);
    CHECK(sparsify::detail::widen(plain[i]) == std::clamp(integer, -8.0f, 7.0f) / 16);
    const bool inside = (plain_mask[i / 8] >> (i % 8)) & 1;
    CHECK(inside == (integer >= -8 && integer <= 7));
    CHECK(sparsify::detail::widen(kept[i]) == (inside ? value * 0.5f : 0.0f));
  }
}

TEST_CASE("grids always hold zero exactly; non-negative ones begin there") {
  const ActivationRange u8{0, 255, false}, s8{-128, 127, true};
  const auto grid = make_grid({-1.0f, 3.0f}, u8, false);
  CHECK(grid.scale == 4.0f / 255);
  CHECK(grid.zero_point == 64);
  CHECK(make_grid({0.5f, 3.0f}, u8, false).zero_point == 0);
  CHECK(make_grid({-0.1f, 3.0f}, u8, true).scale == 3.0f / 255);
  CHECK(make_grid({-4.0f, 3.0f}, s8, false).scale == 4.0f / 127);
  CHECK(make_grid({0.0f, 0.0f}, u8, false).scale == 1);
  CHECK(make_grid({-2.0f, -1.0f}, u8, false).zero_point == 255);
}

TEST_CASE("weights are rounded per output channel, zeros stay zeros, the gradient is the identity") {
  const bool channels_last = GENERATE(false, true);
  auto weight = torch::randn({9, 5, 3, 3});
  weight.mul_(torch::rand_like(weight) > 0.7);
  weight[4].zero_();
  if (channels_last) weight = weight.contiguous(at::MemoryFormat::ChannelsLast);
  weight.requires_grad_();
  const auto scales = weight_scales(weight, nullptr, 0);
  const auto expected_scales = weight.detach().abs().flatten(1).amax(1) / 127;
  CHECK(scales[4].item<float>() == 1);
  for (int c = 0; c < 9; ++c)
    if (c != 4) CHECK(scales[c].item<float>() == Approx(expected_scales[c].item<float>()).epsilon(1e-6));
  const auto rounded = fake_quantize_weight(weight, scales);
  const auto expected = at::fake_quantize_per_channel_affine(weight.detach(), scales,
                                                             torch::zeros({9}, at::kInt), 0, -127, 127);
  CHECK(torch::equal(rounded, expected));
  CHECK(rounded.strides() == weight.strides());
  CHECK((rounded.masked_select(weight == 0) == 0).all().item<bool>());
  const auto integers = (rounded / scales.view({-1, 1, 1, 1})).abs().flatten(1).amax(1);
  for (int c = 0; c < 9; ++c)
    if (c != 4) CHECK(integers[c].item<float>() == Approx(127).margin(1e-3));
  const auto gradient = torch::randn_like(weight);
  rounded.backward(gradient);
  CHECK(torch::equal(weight.grad(), gradient));
}

TEST_CASE("weights of few bits lie on few levels") {
  const auto weight = torch::randn({6, 4, 3, 3});
  for (const int bits : {2, 4, 7}) {
    const int highest = (1 << (bits - 1)) - 1;
    const auto scales = weight_scales(weight, nullptr, 0, highest);
    const auto expected = at::fake_quantize_per_channel_affine(
        weight, weight.abs().flatten(1).amax(1) / highest, torch::zeros({6}, at::kInt), 0, -highest, highest);
    CHECK(torch::allclose(fake_quantize_weight(weight, scales, highest), expected, 1e-6, 1e-7));
  }
}

TEST_CASE("bits of weights: one number, or the first tier that names a layer") {
  SmallNet net;
  const auto graph = record(net, torch::randn({2, 3, 8, 8}));
  const auto bits_of = [&](const WeightBits& bits) {
    std::map<std::string, int> of;
    for (const auto& layer : make_plan(graph, "cpu", {}, {}, SchemeOptions{bits}).weights)
      of[layer.site] = layer.bits;
    return of;
  };
  for (const auto& layer : bits_of({7, {}})) CHECK(layer.second == 7);
  const auto tiers = bits_of({8, {{4, {"block1"}}, {2, {"re:.*conv1.*"}}}});
  CHECK(tiers.at("block1.conv1.weight") == 4);
  CHECK(tiers.at("block2.conv1.weight") == 2);
  CHECK(tiers.at("stem.weight") == 8);
  CHECK_THROWS_WITH(bits_of({8, {{4, {"nobody"}}}}), ContainsSubstring("'nobody' matches no"));
}

TEST_CASE(
    "a bias that would overflow its 32 bits raises the scale; a channel of zeros gives its bias 20 bits") {
  auto weight = torch::zeros({3, 4});
  weight[0].fill_(0.5);
  weight[1].fill_(1e-12);
  const Folded folded{{2, 1, -4}, {3, 3, 3}};
  const double input_scale = 0.02;
  const auto scales = weight_scales(weight, &folded, input_scale);
  CHECK(scales[0].item<float>() == Approx(0.5 / 127));
  const auto steps = [&](int c) {
    return std::fabs(folded.b[c] / (input_scale * scales[c].item<double>() * folded.k[c]));
  };
  CHECK(steps(1) == Approx(1 << 30).epsilon(1e-6));
  CHECK(steps(2) == Approx(1 << 20).epsilon(1e-6));
}

TEST_CASE("the plan of a residual network for CPUs: one quantizer a tensor") {
  SmallNet net;
  const auto plan = make_plan(record(net, torch::randn({2, 3, 8, 8})), "cpu");
  CHECK(quantizer_sites(plan) == Strings{"input#0", "stem.weight/relu#0", "block1.conv1.weight/relu#0",
                                         "block1.conv2.weight/batch_norm#0", "block1.conv2.weight/relu#0",
                                         "block2.conv1.weight/relu#0", "block2.conv2.weight/batch_norm#0",
                                         "block2.down.weight/batch_norm#0", "block2.down.weight/relu#0",
                                         "block2.down.weight/adaptive_avg_pool2d#0"});
  CHECK(plan.activations[1].carried_sites == Strings{"stem.weight/max_pool2d#0"});
  CHECK(plan.activations[9].carried_sites == Strings{"block2.down.weight/flatten#0"});
  std::vector<bool> non_negative;
  for (const auto& quantizer : plan.activations) {
    non_negative.push_back(quantizer.non_negative);
    CHECK(quantizer.range.lowest == 0);
    CHECK(quantizer.range.highest == 255);
    CHECK(quantizer.shared_sites.empty());
  }
  CHECK(non_negative == std::vector<bool>{false, true, true, false, true, true, false, false, true, true});
  REQUIRE(plan.weights.size() == 7);
  CHECK(plan.unquantized.empty());
  const auto& conv2 = plan.weights[2];
  CHECK(conv2.site == "block1.conv2.weight");
  CHECK((conv2.input == 2 && conv2.output == 3));
  CHECK(conv2.batch_norm == "block1.bn2");
  CHECK(conv2.eps == 1e-5);
  const auto& fc = plan.weights[6];
  CHECK((fc.input == 9 && fc.output == -1 && fc.bias == "fc.bias" && fc.batch_norm.empty()));
}

TEST_CASE("the plan of a residual network for GPUs: only the skip side of sums") {
  SmallNet net;
  const auto plan = make_plan(record(net, torch::randn({2, 3, 8, 8})), "gpu");
  CHECK(quantizer_sites(plan) == Strings{"input#0", "stem.weight/relu#0", "block1.conv1.weight/relu#0",
                                         "block1.conv2.weight/relu#0", "block2.conv1.weight/relu#0",
                                         "block2.down.weight/batch_norm#0", "block2.down.weight/relu#0",
                                         "block2.down.weight/adaptive_avg_pool2d#0"});
  for (const auto& quantizer : plan.activations)
    CHECK((quantizer.range.symmetric && quantizer.range.lowest == -128));
  CHECK(plan.weights[2].output == -1);
  CHECK(plan.weights[5].site == "block2.down.weight");
  CHECK(plan.weights[5].output == 5);
}

TEST_CASE("what stays float is listed with its reason, what is ignored must exist") {
  struct Net : nn::Module {
    Net() {
      register_module("a", a), register_module("b", b), register_module("t", t), register_module("h", h);
    }
    at::Tensor forward(const at::Tensor& x) { return h(b(torch::relu(t(torch::relu(a(x)))))); }
    nn::Conv2d a{nn::Conv2dOptions(3, 4, 1)}, b{nn::Conv2dOptions(4, 4, 1)}, h{nn::Conv2dOptions(4, 4, 1)};
    nn::ConvTranspose2d t{nn::ConvTranspose2dOptions(4, 4, 2)};
  } net;
  const auto graph = record(net, torch::randn({1, 3, 4, 4}));
  const auto plan = make_plan(graph, "cpu", {"b"});
  REQUIRE(plan.unquantized.size() == 3);
  CHECK(plan.unquantized[0].site == "t.weight");
  CHECK_THAT(plan.unquantized[0].reason, ContainsSubstring("conv_transpose2d"));
  CHECK_THAT(plan.unquantized[1].reason, ContainsSubstring("ignored"));
  CHECK_THAT(plan.unquantized[2].reason, ContainsSubstring("output of the model"));
  const auto rules = [&] {
    Strings names;
    for (const auto& layer : plan.unquantized) names.push_back(layer.rule);
    return names;
  };
  CHECK(rules() == Strings{"no-integer-kernel", "ignored", "float-output"});
  CHECK(plan.unquantized[0].why() == "no integer kernel for conv_transpose2d [no-integer-kernel]");
  CHECK(quantizer_sites(plan) == Strings{"input#0", "a.weight/relu#0"});
  CHECK_THROWS_WITH(make_plan(graph, "cpu", {"c"}), ContainsSubstring("'c' matches no"));
  CHECK_THROWS_WITH(make_plan(graph, "tpu"), ContainsSubstring("tpu"));
  CHECK(make_plan(graph, "cpu", {"Conv2d"}).weights.empty());
}

TEST_CASE("concatenations and pools share one grid, activations follow the engines' rules") {
  struct Net : nn::Module {
    Net() {
      register_module("a", a), register_module("b", b), register_module("c", c), register_module("d", d);
    }
    at::Tensor forward(const at::Tensor& x) {
      auto p = torch::leaky_relu(a(x), 0.1), q = torch::silu(b(x));
      auto pooled = torch::max_pool2d(p, 3, 1, 1);
      auto up = torch::nn::functional::interpolate(q, torch::nn::functional::InterpolateFuncOptions()
                                                          .scale_factor(std::vector<double>{1, 1})
                                                          .mode(torch::kNearest));
      auto y = c(torch::cat({p, pooled, up}, 1));
      return torch::softmax(d(y * torch::sigmoid(y)), 1);
    }
    nn::Conv2d a{nn::Conv2dOptions(3, 4, 1)}, b{nn::Conv2dOptions(3, 4, 1)}, c{nn::Conv2dOptions(12, 4, 1)},
        d{nn::Conv2dOptions(4, 4, 1)};
  } net;
  const auto graph = record(net, torch::randn({1, 3, 4, 4}));
  const auto cpu = make_plan(graph, "cpu");
  CHECK(quantizer_sites(cpu) == Strings{"input#0", "a.weight", "a.weight/leaky_relu#0", "b.weight",
                                        "b.weight/silu#0.sigmoid", "c.weight", "c.weight/sigmoid#0",
                                        "c.weight/mul#0", "d.weight"});
  CHECK(cpu.activations[2].shared_sites == Strings{"b.weight/silu#0"});
  CHECK(cpu.activations[2].carried_sites ==
        Strings{"b.weight/max_pool2d#0", "b.weight/upsample_nearest2d#0", "b.weight/cat#0"});
  CHECK(cpu.activations[6].non_negative);
  const auto gpu = make_plan(graph, "gpu");
  CHECK(quantizer_sites(gpu) == Strings{"input#0", "a.weight/leaky_relu#0", "c.weight/mul#0"});
}

TEST_CASE("every reader sees the rounded tensors, and the result is what aten computes with them") {
  torch::manual_seed(1);
  SmallNet net;
  net.eval();
  torch::optim::SGD optimizer(net.parameters(), 0.0);
  Session session(quantize(), net, optimizer, 10);
  const auto image = torch::randn({4, 3, 8, 8});
  for (int i = 0; i < 2; ++i) {
    auto step = session.begin_step();
    step.forward([&] { return net.forward(image); });
    step.optimize();
  }
  auto& modifier = *session.find<Quantization>();
  const auto trained = modifier.trained(session.state());
  const auto grid = [&](int i) {
    return Grid{trained.activations[i].scale.item<float>(),
                trained.activations[i].zero_point.item<std::int64_t>(), 0, 255};
  };
  const auto q = [&](const at::Tensor& x, int i) {
    return at::fake_quantize_per_tensor_affine(x, grid(i).scale, grid(i).zero_point, 0, 255);
  };
  const torch::NoGradGuard no_grad;
  const auto result = session.evaluate([&] { return net.forward(image); });

  int layer = 0;
  const auto conv = [&](nn::Conv2d& module, nn::BatchNorm2d& bn, const at::Tensor& x) {
    const auto& scale = trained.weights[layer].scale;
    const auto weight = at::fake_quantize_per_channel_affine(
        module->weight, scale, torch::zeros_like(scale, at::kInt), 0, -127, 127);
    const auto k = (bn->weight / (bn->running_var + 1e-5).sqrt()).to(at::kDouble);
    const auto bias = bn->bias - bn->running_mean * k;
    const auto step = grid(trained.plan.weights[layer].input).scale * scale.to(at::kDouble) * k.abs();
    ++layer;
    const auto y = torch::conv2d(x.to(at::kDouble), weight.to(at::kDouble), {}, module->options.stride(),
                                 std::get<torch::ExpandingArray<2>>(module->options.padding()));
    const auto rounded_bias = (bias / step).round() * step;
    return (y * k.view({1, -1, 1, 1}) + rounded_bias.view({1, -1, 1, 1})).to(at::kFloat);
  };
  auto x = q(conv(net.stem, net.bn, q(image, 0)).relu(), 1);
  x = torch::max_pool2d(x, 2);
  auto& b1 = *net.block1;
  auto y = q(conv(b1.conv1, b1.bn1, x).relu(), 2);
  y = q(conv(b1.conv2, b1.bn2, y), 3);
  x = q((y + x).relu(), 4);
  auto& b2 = *net.block2;
  y = q(conv(b2.conv1, b2.bn1, x).relu(), 5);
  y = q(conv(b2.conv2, b2.bn2, y), 6);
  x = q((y + q(conv(b2.down, b2.down_bn, x), 7)).relu(), 8);
  x = q(torch::adaptive_avg_pool2d(x, {1, 1}), 9).flatten(1);
  const auto& scale = trained.weights[6].scale;
  const auto weight = at::fake_quantize_per_channel_affine(net.fc->weight, scale,
                                                           torch::zeros_like(scale, at::kInt), 0, -127, 127);
  const auto step = grid(9).scale * scale;
  const auto expected = torch::linear(x, weight, (net.fc->bias / step).round() * step);
  // Ties may fall either way between float and double sums; the float model is two orders of magnitude
  // farther away.
  const auto error = (result - expected).abs().mean().item<float>();
  const auto rounding = (result - net.forward(image)).abs().mean().item<float>();
  CAPTURE(error, rounding);
  CHECK(rounding > 1e-4f);
  CHECK(error < 0.01f * rounding);
}

TEST_CASE("folding batch-norm commutes with per-channel rounding, negative gammas included") {
  torch::manual_seed(2);
  const auto weight = torch::randn({64, 16, 3, 3});
  const auto k = torch::randn({64});
  CHECK((k < 0).sum().item<int>() > 10);
  const auto integers = [](const at::Tensor& w) {
    const auto scales = weight_scales(w, nullptr, 0);
    return (fake_quantize_weight(w, scales) / scales.view({-1, 1, 1, 1})).round();
  };
  const auto folded = integers(weight * k.view({-1, 1, 1, 1}));
  const auto differing = (folded != integers(weight) * k.sign().view({-1, 1, 1, 1})).sum().item<int>();
  CHECK(differing == 0);
}

TEST_CASE("training under the quantizers converges, and validation sees integers") {
  torch::manual_seed(3);
  SmallNet net;
  torch::optim::SGD optimizer(net.parameters(), torch::optim::SGDOptions(0.1).momentum(0.9));
  const std::string scheme = GENERATE("cpu", "gpu");
  CAPTURE(scheme);
  Session session(quantize(scheme, 1), net, optimizer, 10);
  train(session, net, optimizer, 60);
  session.finish();
  auto& modifier = *session.find<Quantization>();
  CHECK_THAT(modifier.summary(), ContainsSubstring("7 of 7 layers quantized for " + scheme));
  const auto [data, target] = images(200);
  net.eval();
  const torch::NoGradGuard no_grad;
  const auto quantized = session.evaluate([&, x = data] { return net.forward(x); });
  const auto floating = net.forward(data);
  CHECK((quantized.argmax(1) == target).to(at::kFloat).mean().item<float>() > 0.9f);
  CHECK((quantized - floating).abs().max().item<float>() > 1e-3f);
  CHECK(torch::equal(net.forward(data), floating));  // outside the session nothing is rounded
  // With the last layer's weight and input on grids, logits less bias are multiples of scale products.
  const auto trained = modifier.trained(session.state());
  const auto step = trained.activations.back().scale * trained.weights.back().scale;
  auto bias = net.fc->bias.detach();
  if (scheme == "cpu") bias = (bias / step).round() * step;
  const auto sums = (quantized - bias) / step;
  CHECK((sums - sums.round()).abs().max().item<float>() < 0.05f);
}

TEST_CASE("observers stop and batch-norm statistics freeze at their epochs") {
  torch::manual_seed(4);
  SmallNet net;
  torch::optim::SGD optimizer(net.parameters(), 0.05);
  Recipe recipe;
  Quantization::Options options;
  options.start_epoch = 1, options.freeze_bn_stats_epoch = 2, options.disable_quantization_observer_epoch = 3;
  recipe.add<Quantization>(options);
  Session session(recipe, net, optimizer, 4);
  train(session, net, optimizer, 8);
  const auto mean = net.bn->running_mean.clone();
  auto& modifier = *session.find<Quantization>();
  const auto scale = [&] { return modifier.trained(session.state()).activations[4].scale.item<float>(); };
  const auto before = scale();
  train(session, net, optimizer, 4);
  CHECK(torch::equal(net.bn->running_mean, mean));
  CHECK(net.bn->is_training());
  CHECK(scale() != before);
  const auto frozen = scale();
  train(session, net, optimizer, 4);
  CHECK(scale() == frozen);
}

TEST_CASE("a session continues exactly where its state was taken") {
  const auto run = [](bool interrupt) {
    torch::manual_seed(5);
    auto net = std::make_shared<SmallNet>();
    auto optimizer = std::make_unique<torch::optim::SGD>(net->parameters(), 0.1);
    auto session = std::make_unique<Session>(quantize("cpu", 1), *net, *optimizer, 4);
    train(*session, *net, *optimizer, 9);
    if (interrupt) {
      const auto state = session->state_dict();
      session = std::make_unique<Session>(quantize("cpu", 1), *net, *optimizer, 4);
      session->load_state_dict(state);
      CHECK(session->find<Quantization>()->is_planned());
    }
    const auto loss = train(*session, *net, *optimizer, 3);
    net->eval();
    torch::manual_seed(6);
    const auto image = torch::randn({2, 3, 8, 8});
    return std::make_pair(loss, session->evaluate([&] { return net->forward(image); }));
  };
  const auto [loss, output] = run(false);
  const auto [resumed_loss, resumed_output] = run(true);
  CHECK(loss == resumed_loss);
  CHECK(torch::equal(output, resumed_output));
}

TEST_CASE("plans survive their text form; damaged text is refused") {
  SmallNet net;
  const auto plan = make_plan(record(net, torch::randn({1, 3, 8, 8})), "cpu", {"fc"});
  const auto text = to_text(plan);
  CHECK(to_text(plan_from_text(text)) == text);
  CHECK(plan_from_text(text).weights[2].eps == 1e-5);
  CHECK_THROWS_WITH(plan_from_text("activation\tx"), ContainsSubstring("activation"));
  CHECK_THROWS_WITH(plan_from_text("weight\tw\t3\t-1\t\t0\t\t8\t\t0\n"), ContainsSubstring("not there"));
  CHECK_THROWS_WITH(plan_from_text("weight\tw\t3\t-1\t\t0\t\t64\t\t0\n"), ContainsSubstring("have 64 bits"));
  CHECK_THROWS_WITH(plan_from_text("weight\tw\t3\t-1\t\t0\t\t8\t1\t0\n"),
                    ContainsSubstring("'1'") && ContainsSubstring("ends of a range"));
}

TEST_CASE("options out of range are named") {
  const auto make = [](auto set) {
    Quantization::Options options;
    set(options);
    Recipe().add<Quantization>(options);
  };
  CHECK_THROWS_WITH(make([](auto& o) { o.scheme = "fpga"; }), ContainsSubstring("scheme"));
  CHECK_THROWS_WITH(make([](auto& o) { o.weight_bits = 9.0; }),
                    ContainsSubstring("weight_bits: expected a number from 2 to 8, got 9"));
  CHECK_THROWS_WITH(make([](auto& o) { o.weight_bits = Value::mapping({{"4.5", Value("fc")}}); }),
                    ContainsSubstring("expected 2 to 8"));
  CHECK_THROWS_WITH(make([](auto& o) { o.averaging_constant = 0; }), ContainsSubstring("averaging_constant"));
  CHECK_THROWS_WITH(make([](auto& o) { o.start_epoch = 3, o.freeze_bn_stats_epoch = 2; }),
                    ContainsSubstring("freeze_bn"));
  CHECK_NOTHROW(make([](auto& o) { o.scheme = "tensorrt"; }));
  Registry registry;
  registry.add<Quantization>();
  REQUIRE(registry.find("QuantizationModifier"));
}
