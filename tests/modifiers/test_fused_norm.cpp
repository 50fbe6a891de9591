// SPDX-License-Identifier: Apache-2.0
#include <torch/torch.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "autocast.hpp"
#include "sparsify/graph/recorder.hpp"
#include "sparsify/modifiers/quantization.hpp"
#include "sparsify/session.hpp"

using namespace sparsify;
using Catch::Matchers::ContainsSubstring;
namespace nn = torch::nn;

namespace {

// What the operators of LibTorch give one after another, in double precision, with the same straight-through
// gradient.
struct Reference {
  at::Tensor out, running_mean, running_var;
};
Reference reference(const at::Tensor& x, const at::Tensor& gamma, const at::Tensor& beta,
                    const NormCall& call) {
  Reference result{{}, call.running_mean.to(at::kDouble), call.running_var.to(at::kDouble)};
  const auto real = call.factor.defined() ? x * call.factor.to(at::kDouble).view({1, -1, 1, 1}) : x;
  auto y = torch::batch_norm(real, gamma, beta, result.running_mean, result.running_var, call.training,
                             call.momentum, call.eps, false);
  y = torch::hardtanh(y, call.clip.lowest, call.clip.highest);
  if (call.rounds) {
    const double scale = call.grid.scale;
    const auto first = static_cast<double>(call.grid.lowest - call.grid.zero_point),
               last = static_cast<double>(call.grid.highest - call.grid.zero_point);
    const auto integers = torch::round(y.detach() / scale);
    const auto inside = torch::logical_and(integers >= first, integers <= last);
    const double unit = call.holds == Holds::kIntegers ? 1 : scale;
    y = y * inside * (unit / scale);
    y = y + (integers.clamp(first, last) * unit - y).detach();
  }
  result.out = y;
  return result;
}

double worst(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

// Convolutions with batch norm around max-pool and a sum, and one without, then a linear layer: each of the
// ways in which integers reach a product.
struct NormNet : nn::Module {
  NormNet() {
    register_module("a", a), register_module("a_bn", a_bn), register_module("b", b),
        register_module("b_bn", b_bn);
    register_module("c", c), register_module("fc", fc);
  }
  at::Tensor forward(const at::Tensor& image) {
    product_a = a(image);
    auto normalised = a_bn(product_a);
    const auto x = torch::max_pool2d(torch::hardtanh_(normalised, 0, 1.5), 2);
    input_c = torch::relu(b_bn(b(x)) + x);
    product_c = c(input_c);
    const auto z = torch::relu(product_c);
    return fc(torch::flatten(torch::adaptive_avg_pool2d(z, {1, 1}), 1));
  }
  nn::Conv2d a{nn::Conv2dOptions(3, 16, 3).padding(1).bias(false)},
      b{nn::Conv2dOptions(16, 16, 3).padding(1).bias(false)}, c{nn::Conv2dOptions(16, 24, 1)};
  nn::BatchNorm2d a_bn{16}, b_bn{16};
  nn::Linear fc{24, 5};
  at::Tensor product_a, input_c, product_c;  ///< of the last pass
};

Parameters parameters_in(const nn::Module& net) {
  Parameters all;
  for (const auto& parameter : net.named_parameters()) all.push_back({parameter.key(), parameter.value()});
  return all;
}
Parameters buffers_of(const nn::Module& net) {
  Parameters all;
  for (const auto& buffer : net.named_buffers()) all.push_back({buffer.key(), buffer.value()});
  return all;
}

}  // namespace

TEST_CASE(
    "batch norm, ReLU and rounding at once: values, gradients and statistics of the operators one by one") {
  torch::manual_seed(3);
  const bool channels_last = GENERATE(false, true);
  const bool bfloat16 = GENERATE(false, true);
  const bool training = GENERATE(true, false);
  const int kind = GENERATE(0, 1, 2, 3, 4, 5);  // which parts take part
  CAPTURE(channels_last, bfloat16, training, kind);
  const auto channels = GENERATE(5, 19);
  auto given = torch::randn({4, channels, 17, 13}) * 2 + torch::arange(channels).view({1, -1, 1, 1}) * 0.3;
  if (channels_last) given = given.contiguous(at::MemoryFormat::ChannelsLast);
  if (bfloat16) given = given.to(at::kBFloat16);
  auto gamma = torch::randn({channels}), beta = torch::randn({channels});
  NormCall call;
  call.running_mean = torch::randn({channels}), call.running_var = torch::rand({channels}) + 0.5;
  call.training = training;
  call.momentum = 0.3;
  if (kind == 1 || kind == 2) call.clip = {0};
  if (kind == 5) call.clip = {0, 1.5f};
  call.rounds = kind >= 2;
  call.grid = call.clip.lowest == 0 ? Grid{0.011f, 0, 0, 255}
              : kind == 3           ? Grid{0.02f, 0, -128, 127}
                                    : Grid{0.016f, 100, 0, 255};
  if (kind == 4) call.holds = Holds::kIntegers, call.factor = torch::rand({channels}) + 0.2;
  Extent seen;
  call.seen = &seen;
  auto call_before = call;
  call_before.running_mean = call.running_mean.clone(), call_before.running_var = call.running_var.clone();
  REQUIRE(can_fuse(given, gamma, beta, call));

  auto x = given.clone().requires_grad_(), g = gamma.clone().requires_grad_(),
       b = beta.clone().requires_grad_();
  auto x2 = given.to(at::kDouble).requires_grad_(), g2 = gamma.to(at::kDouble).requires_grad_(),
       b2 = beta.to(at::kDouble).requires_grad_();
  const auto mine = fused_batch_norm(x, g, b, call);
  const auto theirs = reference(x2, g2, b2, call_before);
  CHECK(mine.strides() == given.strides());
  CHECK(mine.scalar_type() == given.scalar_type());
  CHECK(worst(call.running_mean, theirs.running_mean) < 1e-5);
  CHECK(worst(call.running_var, theirs.running_var) < 1e-4);
  // Of numbers that lie between two steps of the grid, a few fall to the other side.
  const double unit = !call.rounds ? 0 : call.holds == Holds::kIntegers ? 1 : call.grid.scale;
  const auto difference = (mine.detach().to(at::kDouble) - theirs.out.detach()).abs();
  const double rounding =
      bfloat16 && call.holds == Holds::kValues ? theirs.out.abs().max().item<double>() / 256 : 1e-5;
  CHECK(difference.max().item<double>() <= 1.001 * unit + rounding);
  CHECK((difference > rounding).to(at::kDouble).mean().item<double>() < 1e-3);
  if (call.rounds) CHECK((seen.low <= seen.high && (call.clip.lowest != 0 || seen.low == 0)));
  if (kind == 5) CHECK(seen.high == 1.5f);

  const auto gradient = torch::randn(given.sizes().vec()).to(given.scalar_type());  // always NCHW
  mine.backward(gradient);
  theirs.out.backward(gradient.to(at::kDouble));
  const double scale = 1 / (call.holds == Holds::kIntegers ? call.grid.scale : 1.0f);
  const double few =
      given[0].numel() / static_cast<double>(channels);  // one flip moves a sum by as much as a value
  CHECK(worst(x.grad(), x2.grad()) <
        (bfloat16 ? 0.04 : 2e-2) * scale * (1 + gamma.abs().max().item<double>()));
  CHECK((x.grad().to(at::kDouble) - x2.grad()).abs().mean().item<double>() <
        (bfloat16 ? 3e-3 : 1e-4) * scale);
  CHECK(worst(g.grad(), g2.grad()) < 4 * scale + few * 1e-3);
  CHECK((b.grad().to(at::kDouble) - b2.grad()).abs().mean().item<double>() < 0.5 * scale);
}

TEST_CASE("the fused batch norm takes what it can compute, and nothing else") {
  NormCall call;
  call.running_mean = torch::zeros({3}), call.running_var = torch::ones({3});
  const auto x = torch::randn({2, 3, 4, 4});
  CHECK(can_fuse(x, {}, {}, call));
  CHECK(can_fuse(x.contiguous(at::MemoryFormat::ChannelsLast), torch::ones({3}), torch::ones({3}), call));
  CHECK_FALSE(can_fuse(x.to(at::kDouble), {}, {}, call));
  CHECK_FALSE(can_fuse(x.flatten(2), {}, {}, call));
  CHECK_FALSE(can_fuse(x.transpose(2, 3), {}, {}, call));
  CHECK_FALSE(can_fuse(x, torch::ones({3}, at::kDouble), {}, call));
  CHECK_FALSE(can_fuse(torch::randn({1, 3, 1, 1}), {}, {}, call));
  CHECK_FALSE(can_fuse(torch::randn({0, 3, 4, 4}), {}, {}, call));
  NormCall none;
  CHECK_FALSE(can_fuse(x, {}, {}, none));
}

TEST_CASE("a step with fused batch norms is the step that their parts make") {
  torch::manual_seed(0);
  NormNet net;
  const auto image = torch::randn({4, 3, 12, 12});
  const auto parameters = parameters_in(net), buffers = buffers_of(net);
  const auto scheme = GENERATE("cpu", "gpu");
  const auto graph = record(net, image);
  Quantizers quantizers(make_plan(graph, scheme));
  CHECK(quantizers.plan().weights[0].clip == Clip{0, 1.5f});
  CHECK(quantizers.plan().weights[2].clip == Clip{0});
  CHECK_FALSE(quantizers.plan().weights[1].clip);
  for (auto& range : quantizers.ranges()) range = {{-2.5f, 3.0f}, 1};
  const auto run = [&](bool at_once) {
    std::vector<Histogram> histograms(quantizers.ranges().size());  // counting values needs them one by one
    QuantizationMode::Settings settings;
    settings.activations = {true, true, at_once ? nullptr : &histograms};
    QuantizationMode mode(quantizers, parameters, buffers, settings);
    for (const auto& buffer : buffers)
      if (buffer.name.find("running_mean") != std::string::npos) at::Tensor(buffer.tensor).zero_();
    net.zero_grad();
    at::Tensor out;
    {
      const ModeGuard guard(mode);
      out = net.forward(image);
    }
    out.square().sum().backward();
    std::vector<at::Tensor> results{out.detach().clone()};
    for (const auto& parameter : parameters) results.push_back(parameter.tensor.grad().clone());
    for (const auto& buffer : buffers)
      if (buffer.name.find("running_mean") != std::string::npos) results.push_back(buffer.tensor.clone());
    for (const auto& seen : mode.finish()) results.push_back(torch::tensor({seen.low, seen.high}));
    return results;
  };
  const auto fused = run(true), parts = run(false);
  REQUIRE(fused.size() == parts.size());
  for (std::size_t i = 0; i < fused.size(); ++i) {
    CAPTURE(i);
    CHECK((fused[i] - parts[i]).norm().item<double>() < 0.01 * parts[i].norm().item<double>() + 1e-5);
  }
}

TEST_CASE(
    "an operator that reads between a batch norm and its ReLU in a later pass, or another ReLU, is an error "
    "that names the place") {
  struct Branching : nn::Module {
    Branching() { register_module("conv", conv), register_module("bn", bn), register_module("head", head); }
    at::Tensor forward(const at::Tensor& x) {
      const auto y = bn(conv(x));
      auto z = clips_at_six ? torch::relu6(y) : torch::relu(y);
      if (peeks) z = z + torch::sigmoid(y);
      return head(z.mean({2, 3}));
    }
    nn::Conv2d conv{nn::Conv2dOptions(3, 8, 3)};
    nn::Linear head{8, 2};
    nn::BatchNorm2d bn{8};
    bool peeks = false, clips_at_six = false;
  } net;
  const auto image = torch::randn({2, 3, 8, 8});
  Quantizers quantizers(make_plan(record(net, image), "gpu"));
  for (auto& range : quantizers.ranges()) range = {{-2, 2}, 1};
  const auto parameters = parameters_in(net), buffers = buffers_of(net);
  const auto run = [&] {
    QuantizationMode mode(quantizers, parameters, buffers, {});
    const ModeGuard guard(mode);
    net.forward(image);
  };
  run();
  net.peeks = true;
  CHECK_THROWS_WITH(run(), ContainsSubstring("conv.weight") && ContainsSubstring("recorded first"));
  net.peeks = false, net.clips_at_six = true;
  CHECK_THROWS_WITH(run(), ContainsSubstring("conv.weight") && ContainsSubstring("recorded first"));
}

TEST_CASE("in bfloat16 layers multiply the integers of inference, to the bit") {
  torch::manual_seed(1);
  const bool channels_last = GENERATE(false, true);
  NormNet net;
  auto image = torch::randn({4, 3, 12, 12});
  if (channels_last) image = image.contiguous(at::MemoryFormat::ChannelsLast);
  const auto scheme = GENERATE("cpu", "gpu");
  Quantizers quantizers(make_plan(record(net, image), scheme));
  for (auto& range : quantizers.ranges()) range = {{-2.5f, 3.0f}, 1};
  const auto parameters = parameters_in(net), buffers = buffers_of(net);
  QuantizationMode mode(quantizers, parameters, buffers, {});
  at::Tensor out;
  {
    const test::Autocast autocast(at::kBFloat16);
    const ModeGuard guard(mode);
    out = net.forward(image);
  }
  CHECK(out.scalar_type() == at::kBFloat16);
  out.to(at::kFloat).square().sum().backward();
  for (const auto& parameter : parameters) {
    CAPTURE(parameter.name);
    REQUIRE(parameter.tensor.grad().defined());
    CHECK(parameter.tensor.grad().scalar_type() == at::kFloat);
    CHECK(parameter.tensor.grad().isfinite().all().item<bool>());
    CHECK(parameter.tensor.grad().abs().max().item<float>() > 0);
  }

  // The same by exact integers.
  const auto activation_integers = [&](const at::Tensor& x, int layer) {
    const auto grid = quantizers.grid(quantizers.plan().weights[layer].input);
    const auto whole = torch::round(x.detach().to(at::kFloat) * (1.0f / grid.scale));
    return whole.clamp(grid.lowest - grid.zero_point, grid.highest - grid.zero_point).to(at::kDouble);
  };
  const auto weight_integers = [&](const at::Tensor& weight, const at::Tensor& scales) {
    return torch::round(weight.detach() * (1.0f / scales).view({-1, 1, 1, 1}))
        .clamp(-127, 127)
        .to(at::kDouble);
  };
  const int a = quantizers.weight_at("a.weight"), c = quantizers.weight_at("c.weight");
  REQUIRE((a >= 0 && c >= 0));
  // Layer a leaves scaling to its batch norm, whose statistics have moved since: weight scales are the same
  // in gpu form.
  const auto scales_a = weight_scales(net.a->weight, nullptr, 0);
  const auto sums_a =
      torch::conv2d(activation_integers(image, a), weight_integers(net.a->weight, scales_a), {}, 1, 1);
  CHECK(sums_a.abs().max().item<double>() > 1000);
  if (std::string(scheme) == "gpu") CHECK(torch::equal(net.product_a, sums_a.to(at::kBFloat16)));
  const auto scales_c = layer_scales(quantizers, c, net.c->weight, parameters, buffers);
  const auto sums_c =
      torch::conv2d(activation_integers(net.input_c, c), weight_integers(net.c->weight, scales_c));
  const float input_scale = quantizers.grid(quantizers.plan().weights[c].input).scale;
  const auto real = sums_c.to(at::kBFloat16).to(at::kFloat) *
                        (scales_c * static_cast<double>(input_scale)).view({1, -1, 1, 1}) +
                    net.c->bias.detach().view({1, -1, 1, 1});
  CHECK(torch::equal(net.product_c, real.to(at::kBFloat16)));
}

TEST_CASE("a quantized step in bfloat16 follows the one in float32") {
  torch::manual_seed(1);
  NormNet net;
  const auto image = torch::randn({8, 3, 12, 12}).contiguous(at::MemoryFormat::ChannelsLast);
  Quantizers quantizers(make_plan(record(net, image), "cpu"));
  for (auto& range : quantizers.ranges()) range = {{-2.5f, 3.0f}, 1};
  const auto parameters = parameters_in(net), buffers = buffers_of(net);
  const auto gradients = [&](bool bfloat16) {
    net.zero_grad();
    QuantizationMode mode(quantizers, parameters, buffers, {});
    at::Tensor out;
    {
      std::optional<test::Autocast> autocast;
      if (bfloat16) autocast.emplace(at::kBFloat16);
      const ModeGuard guard(mode);
      out = net.forward(image);
    }
    out.to(at::kFloat).square().sum().backward();
    std::vector<at::Tensor> all;
    for (const auto& parameter : parameters) all.push_back(parameter.tensor.grad().clone());
    return all;
  };
  const auto wide = gradients(false), narrow = gradients(true);
  for (std::size_t i = 0; i < wide.size(); ++i) {
    CAPTURE(parameters[i].name);
    CHECK((wide[i] - narrow[i]).norm().item<double>() < 0.15 * wide[i].norm().item<double>() + 1e-4);
  }
}
