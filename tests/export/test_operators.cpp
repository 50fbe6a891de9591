// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators_all.hpp>
#include <catch2/matchers/catch_matchers_all.hpp>

#include "sparsify/error.hpp"
#include "sparsify/onnx/check.hpp"
#include "support.hpp"

namespace F = torch::nn::functional;
namespace nn = torch::nn;
using namespace sparsify;
using namespace sparsify::onnx;
using namespace sparsify::onnx::testing;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::MessageMatches;

namespace {

using Tensors = std::vector<at::Tensor>;

struct Case {
  const char* name;
  std::vector<std::int64_t> shape;  // with batch 2
  FunctionImpl::Forward run;
  bool dynamic = true;
};

template <class Module>
FunctionImpl::Forward module(Module net) {
  net->eval();
  return [net](const at::Tensor& x) mutable { return Tensors{net(x)}; };
}

#define SINGLE(...) [](const at::Tensor& x) { return Tensors{__VA_ARGS__}; }

nn::BatchNorm2d trained_norm(std::int64_t channels) {
  nn::BatchNorm2d norm(channels);
  const torch::NoGradGuard no_grad;
  norm->weight.uniform_(-1, 1);
  norm->bias.uniform_(-1, 1);
  norm->running_mean.uniform_(-1, 1);
  norm->running_var.uniform_(0.5, 2);
  norm->eval();
  return norm;
}

std::vector<Case> cases() {
  torch::manual_seed(7);
  const auto conv = [](auto options) { return module(nn::Conv2d(options)); };
  using C = nn::Conv2dOptions;
  auto norm = trained_norm(4);
  return {
      {"conv2d", {2, 3, 9, 9}, conv(C(3, 5, 3).stride(2).padding(1))},
      {"conv2d dilated, no bias", {2, 3, 9, 9}, conv(C(3, 5, 3).dilation(2).bias(false))},
      {"conv2d grouped", {2, 4, 9, 9}, conv(C(4, 8, 3).groups(4).padding({1, 0}))},
      {"conv2d same", {2, 3, 9, 9}, conv(C(3, 5, 4).padding(torch::kSame))},
      {"conv2d valid", {2, 3, 9, 9}, conv(C(3, 5, 4).padding(torch::kValid))},
      {"conv1d", {2, 3, 17}, module(nn::Conv1d(nn::Conv1dOptions(3, 5, 3).padding(1).stride(2)))},
      {"conv_transpose2d", {2, 4, 5, 5},
       module(nn::ConvTranspose2d(nn::ConvTranspose2dOptions(4, 6, 3).stride(2).padding(1).output_padding(1).groups(2)))},
      {"linear", {2, 6}, module(nn::Linear(6, 5))},
      {"linear of three dimensions", {2, 3, 6}, module(nn::Linear(6, 5))},
      {"linear without bias", {2, 6}, module(nn::Linear(nn::LinearOptions(6, 5).bias(false)))},
      {"torch::linear", {2, 6}, [w = torch::randn({5, 6})](const at::Tensor& x) { return Tensors{torch::linear(x, w)}; }},
      {"matmul", {2, 3, 4}, SINGLE(torch::matmul(x, x.transpose(1, 2)))},
      {"addmm", {2, 6},
       [w = torch::randn({6, 5}), b = torch::randn({5})](const at::Tensor& x) { return Tensors{torch::addmm(b, x, w, 2, 3)}; }},
      {"batch_norm", {2, 4, 5, 5}, module(norm)},
      {"group_norm", {2, 6, 5, 5}, SINGLE(torch::group_norm(x, 3, torch::linspace(-1, 1, 6), torch::linspace(0, 2, 6)))},
      {"group_norm without weights", {2, 6, 7}, SINGLE(torch::group_norm(x, 2))},
      {"conv + batch_norm", {2, 4, 5, 5}, [c = nn::Conv2d(C(4, 4, 3)), norm](const at::Tensor& x) mutable { return Tensors{norm(c(x))}; }},
      {"conv_transpose + batch_norm", {2, 4, 5, 5},
       [c = nn::ConvTranspose2d(nn::ConvTranspose2dOptions(4, 4, 3).groups(2)), norm](const at::Tensor& x) mutable { return Tensors{norm(c(x))}; }},
      {"conv, read twice, + batch_norm", {2, 4, 5, 5},
       [c = nn::Conv2d(C(4, 4, 3)), norm](const at::Tensor& x) mutable { auto y = c(x); return Tensors{norm(y) + y}; }},
      {"relu", {2, 3, 4}, SINGLE(torch::relu(x))},
      {"relu_", {2, 3, 4}, [](const at::Tensor& x) { auto y = x * 2; y.relu_(); return Tensors{y}; }},
      {"relu6", {2, 3, 4}, SINGLE(F::relu6(x * 5))},
      {"hardtanh", {2, 3, 4}, SINGLE(F::hardtanh(x, F::HardtanhFuncOptions().min_val(-0.3).max_val(0.7)))},
      {"clamp", {2, 3, 4}, SINGLE(torch::clamp(x, -0.5, 0.25))},
      {"clamp_min", {2, 3, 4}, SINGLE(torch::clamp_min(x, 0.1))},
      {"clamp open", {2, 3, 4}, SINGLE(torch::clamp(x, c10::nullopt, 0.25))},
      {"leaky_relu", {2, 3, 4}, SINGLE(torch::leaky_relu(x, 0.1))},
      {"silu", {2, 3, 4}, SINGLE(torch::silu(x))},
      {"sigmoid", {2, 3, 4}, SINGLE(torch::sigmoid(x))},
      {"hardswish", {2, 3, 4}, SINGLE(torch::hardswish(x * 4))},
      {"hardsigmoid", {2, 3, 4}, SINGLE(torch::hardsigmoid(x * 4))},
      {"mish", {2, 3, 4}, SINGLE(torch::mish(x))},
      {"gelu", {2, 3, 4}, SINGLE(torch::gelu(x))},
      {"gelu tanh", {2, 3, 4}, SINGLE(torch::gelu(x, "tanh"))},
      {"tanh", {2, 3, 4}, SINGLE(torch::tanh(x))},
      {"elu", {2, 3, 4}, SINGLE(torch::elu(x, 0.7))},
      {"softplus", {2, 3, 4}, SINGLE(F::softplus(x))},
      {"prelu", {2, 3, 4, 4}, module(nn::PReLU(nn::PReLUOptions().num_parameters(3)))},
      {"softmax", {2, 3, 4}, SINGLE(torch::softmax(x, 1))},
      {"log_softmax", {2, 3, 4}, SINGLE(torch::log_softmax(x, -1))},
      {"add", {2, 3, 4}, SINGLE(x + torch::relu(x))},
      {"add alpha", {2, 3, 4}, SINGLE(torch::add(x, torch::relu(x), 2.5))},
      {"add number", {2, 3, 4}, SINGLE(x + 1, 2 + x, torch::add(x, 1.5, 2))},
      {"add_", {2, 3, 4}, [](const at::Tensor& x) { auto y = torch::relu(x); y += x; return Tensors{y}; }},
      {"sub", {2, 3, 4}, SINGLE(x - torch::relu(x), x - 1.5, 1 - x)},
      {"mul", {2, 3, 4}, SINGLE(x * torch::relu(x), x * 3, -x)},
      {"div", {2, 3, 4}, SINGLE(torch::relu(x) / (x * x + 1), x / 3, 1 / (x * x + 1))},
      {"pow", {2, 3, 4}, SINGLE((x * x + 1).pow(1.5), x.pow(2))},
      {"exp log sqrt", {2, 3, 4}, SINGLE(torch::exp(x), torch::log(x * x + 1), torch::sqrt(x * x + 1), torch::abs(x))},
      {"parameter of one dimension", {2, 3, 4}, [w = torch::randn({4})](const at::Tensor& x) { return Tensors{x * w}; }},
      {"max_pool2d", {2, 3, 9, 9}, SINGLE(torch::max_pool2d(x, 3, 2, 1))},
      {"max_pool2d ceil", {2, 3, 9, 8}, SINGLE(torch::max_pool2d(x, 2, 2, 0, 1, true), torch::max_pool2d(x, 3, 2, 1, 1, true))},
      {"max_pool2d dilated", {2, 3, 9, 9}, SINGLE(torch::max_pool2d(x, {3, 2}, {}, {1, 0}, 2))},
      {"max_pool1d", {2, 3, 9}, SINGLE(torch::max_pool1d(x, 3, 2, 1))},
      {"avg_pool2d", {2, 3, 9, 9}, SINGLE(torch::avg_pool2d(x, 3, 2, 1), torch::avg_pool2d(x, 3, 2, 1, false, false))},
      {"avg_pool2d ceil", {2, 3, 10, 10},
       SINGLE(torch::avg_pool2d(x, 3, 2, 0, true), torch::avg_pool2d(x, 3, 2, 1, true), torch::avg_pool2d(x, 3, 2, 1, true, false))},
      {"avg_pool2d divisor", {2, 3, 8, 8}, SINGLE(torch::avg_pool2d(x, 2, 2, 0, false, true, 3))},
      {"adaptive_avg_pool2d", {2, 3, 8, 6},
       SINGLE(torch::adaptive_avg_pool2d(x, {1, 1}), torch::adaptive_avg_pool2d(x, {4, 3}), torch::adaptive_avg_pool2d(x, {8, 6}))},
      {"adaptive_avg_pool1d", {2, 3, 8}, SINGLE(torch::adaptive_avg_pool1d(x, 1), torch::adaptive_avg_pool1d(x, 4))},
      {"flatten", {2, 3, 4, 5}, SINGLE(torch::flatten(x, 1), torch::flatten(x, 2), torch::flatten(x, 0, 1), torch::flatten(x))},
      {"view", {2, 6, 4}, SINGLE(x.view({x.size(0), 2, 3, 4}), x.view({-1, 4}), x.view({-1, 24}))},
      {"view and back", {2, 6, 4}, SINGLE(torch::relu(x.view({-1, 4})).view({x.size(0), 6, 4}))},
      {"reshape", {2, 6, 4}, SINGLE(x.reshape({x.size(0), 4, 6}), x.transpose(1, 2).reshape({x.size(0), -1}))},
      {"permute", {2, 3, 4, 5}, SINGLE(x.permute({0, 2, 3, 1}), x.permute({3, 0, -2, 1}).contiguous())},
      {"transpose", {2, 3, 4}, SINGLE(x.transpose(1, -1), x.transpose(0, 1))},
      {"squeeze", {2, 3, 1, 4, 1}, SINGLE(x.squeeze(2), x.squeeze(-1), x.squeeze(1))},
      {"squeeze of all", {2, 3, 1, 4, 1}, SINGLE(x.squeeze()), false},
      {"like", {2, 3}, SINGLE(at::zeros_like(x), at::ones_like(x) + x, at::full_like(x, 2.5))},
      {"unsqueeze", {2, 3}, SINGLE(x.unsqueeze(1), x.unsqueeze(-1), x.unsqueeze(0))},
      {"expand", {2, 3, 1}, SINGLE(x.expand({x.size(0), 3, 4}), x.expand({-1, -1, 2}))},
      {"contiguous, to, detach, clone", {2, 3, 4}, SINGLE(x.contiguous().to(torch::kFloat).detach().clone() * 2)},
      {"to double", {2, 3, 4}, SINGLE(x.to(torch::kDouble))},
      {"dropout", {2, 3, 4}, [d = [] { nn::Dropout d; d->eval(); return d; }()](const at::Tensor& x) mutable { return Tensors{d(x) + 1}; }},
      {"identity of the input", {2, 3}, SINGLE(x)},
      {"the same output twice", {2, 3}, [](const at::Tensor& x) { auto y = x * 2; return Tensors{y, y}; }},
      {"cat", {2, 3, 4}, SINGLE(torch::cat({x, torch::relu(x)}, 1), torch::cat({x, x, x}, -1))},
      {"stack", {2, 3, 4}, SINGLE(torch::stack({x, torch::relu(x)}, 1), torch::stack({x, x}, -1), torch::stack({x, x}, 0))},
      {"chunk", {2, 7, 4}, [](const at::Tensor& x) { return x.chunk(3, 1); }},
      {"split", {2, 7, 4}, [](const at::Tensor& x) { return x.split(3, 1); }},
      {"split sizes", {2, 7, 4}, [](const at::Tensor& x) { return x.split_with_sizes({2, 5}, 1); }},
      {"unbind", {2, 3, 4}, [](const at::Tensor& x) { return x.unbind(1); }},
      {"slice", {2, 8, 6}, SINGLE(x.slice(1, 2, 7, 2), x.slice(-1, -3), x.slice(1, 0, -1), x.narrow(2, 1, 3))},
      {"index", {2, 8, 6}, SINGLE(x.index({"...", torch::indexing::Slice(2, 5)}), x.select(1, -2), x.select(2, 0))},
      {"pad", {2, 3, 6, 6},
       SINGLE(F::pad(x, F::PadFuncOptions({1, 2, 0, 3})), F::pad(x, F::PadFuncOptions({1, 2}).value(0.5)),
              torch::constant_pad_nd(x, {0, 0, 0, 0, 1, 1}, 0), F::pad(x, F::PadFuncOptions({1, 2, 3, 1}).mode(torch::kReflect)),
              F::pad(x, F::PadFuncOptions({-1, 2})))},
      {"upsample_nearest2d", {2, 3, 5, 4},
       SINGLE(torch::upsample_nearest2d(x, at::IntArrayRef{10, 8}), torch::upsample_nearest2d(x, at::IntArrayRef{7, 4}),
              F::interpolate(x, F::InterpolateFuncOptions().scale_factor(std::vector<double>{2, 2}).mode(torch::kNearest)))},
      {"upsample_bilinear2d", {2, 3, 5, 4},
       SINGLE(F::interpolate(x, F::InterpolateFuncOptions().size(std::vector<std::int64_t>{10, 8}).mode(torch::kBilinear).align_corners(false)),
              F::interpolate(x, F::InterpolateFuncOptions().size(std::vector<std::int64_t>{10, 8}).mode(torch::kBilinear).align_corners(true)))},
      {"pixel_shuffle", {2, 8, 3, 3}, SINGLE(torch::pixel_shuffle(x, 2))},
      {"mean", {2, 3, 4, 5}, SINGLE(x.mean({2, 3}), x.mean({2, 3}, true), x.mean(1), x.mean(at::IntArrayRef{-1}, true))},
      {"sum, amax", {2, 3, 4}, SINGLE(x.sum({1}), x.sum(-1, true), x.amax({2}))},
      {"split along the batch", {2, 3}, [](const at::Tensor& x) { return Tensors{x.slice(0, 0, 1) * 2}; }, false},
      {"mean of all", {2, 3}, SINGLE(x.mean()), false},
      {"constants are folded", {2, 3, 4}, [w = torch::randn({4, 3})](const at::Tensor& x) {
         return Tensors{torch::matmul(x.transpose(1, 2), w.t()) + torch::arange(4).to(torch::kFloat).sqrt() * 2}; }},
  };
}

void run_case(const Case& test, int opset) {
  const Folder folder;
  nn::ModuleHolder<FunctionImpl> net(test.run);
  ExportOptions options;
  options.opset = opset;
  options.dynamic_batch = test.dynamic;
  torch::manual_seed(3);
  const torch::NoGradGuard no_grad;
  export_model(*net, torch::randn(test.shape), options, folder / "model.onnx");
  check_model(folder / "model.onnx");
  Engine engine(folder / "model.onnx");
  auto shape = test.shape;
  for (const std::int64_t batch :
       test.dynamic ? std::vector<std::int64_t>{2, 1, 5} : std::vector<std::int64_t>{2}) {
    shape[0] = batch;
    const auto input = torch::randn(shape);
    const auto expected = net->forward(input);
    const auto actual = engine.run(Tensors{input});
    REQUIRE(actual.size() == expected.size());
    for (std::size_t i = 0; i < actual.size(); ++i) {
      CAPTURE(test.name, opset, batch, i, actual[i].sizes(), expected[i].sizes());
      CHECK(largest_difference(actual[i], expected[i]) < 2e-5);
    }
  }
}

}  // namespace

TEST_CASE("every operator computes in ONNX Runtime what it computes in LibTorch") {
  for (const auto& test : cases()) {
    DYNAMIC_SECTION(test.name) {
      INFO(test.name);
      run_case(test, 17);
    }
  }
}

TEST_CASE("older opsets express the same operators") {
  for (const auto& test : cases())
    for (const std::string name :
         {"hardswish", "conv + batch_norm", "batch_norm", "mean", "pad", "split", "sum, amax"})
      if (test.name == name)
        for (const int opset : {13, 14, 15, 16}) {
          INFO(test.name << " in opset " << opset);
          run_case(test, opset);
        }
}

TEST_CASE("what cannot be exported is an error that names the operator and its place") {
  const Folder folder;
  const auto attempt = [&](FunctionImpl::Forward run, std::vector<std::int64_t> shape,
                           ExportOptions options = {}) {
    nn::ModuleHolder<FunctionImpl> net(std::move(run));
    export_model(*net, torch::randn(shape), options, folder / "model.onnx");
  };
  CHECK_THROWS_MATCHES(attempt(SINGLE(torch::cumsum(x, 1)), {2, 3}), Error,
                       MessageMatches(ContainsSubstring("aten::cumsum at 'input/cumsum#0'")));
  CHECK_THROWS_MATCHES(attempt(SINGLE(torch::adaptive_avg_pool2d(x, {3, 3})), {2, 3, 8, 8}), Error,
                       MessageMatches(ContainsSubstring("does not divide the input's 8")));
  CHECK_THROWS_MATCHES(attempt(SINGLE(x.slice(0, 0, 1) * 2), {2, 3}), Error,
                       MessageMatches(ContainsSubstring("batch")));
  CHECK_THROWS_MATCHES(attempt([](const at::Tensor& x) { return Tensors{x + torch::ones({2, 3})}; }, {2, 3}),
                       Error, MessageMatches(ContainsSubstring("batch size")));
  ExportOptions options;
  options.opset = 18;
  CHECK_THROWS_MATCHES(attempt(SINGLE(x * 2), {2, 3}, options), Error,
                       MessageMatches(ContainsSubstring("13 to 17")));
  CHECK(folder.is_empty());
}

TEST_CASE("folding batch-norm: negative and zero factors, names kept") {
  torch::manual_seed(11);
  const Folder folder;
  nn::Sequential net(nn::Conv2d(nn::Conv2dOptions(3, 4, 3).bias(false)), trained_norm(4), nn::ReLU());
  {
    const torch::NoGradGuard no_grad;
    auto parameters = net->named_parameters();
    parameters["1.weight"].copy_(torch::tensor({1.5, -0.75, 0.0, 2.0}));
  }
  const auto example = torch::randn({1, 3, 6, 6});
  net->eval();
  const auto report = export_model(*net, example, {}, folder / "model.onnx");
  CHECK(report.folded_batch_norms == 1);
  CHECK(report.layers == 1);
  CHECK(report.nodes == 2);  // Conv and Relu
  CHECK(report.bytes == static_cast<std::int64_t>(std::filesystem::file_size(folder / "model.onnx")));
  const auto input = torch::randn({3, 3, 6, 6});
  CHECK(largest_difference(Engine(folder / "model.onnx").run(input), net->forward(input).detach()) < 1e-5);
}
