// SPDX-License-Identifier: Apache-2.0
// Where quantizers go around every kind of operator, and what engines make of it: one small network for each.
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_all.hpp>

#include "patterns.hpp"
#include "trained.hpp"

namespace nn = torch::nn;
using namespace sparsify;
using namespace sparsify::onnx;
using namespace sparsify::onnx::testing;
using at::Tensor;
using Catch::Matchers::ContainsSubstring;

namespace {

Tensor squeezed(BuiltImpl& n, const Tensor& x) {
  return n.conv("down", torch::adaptive_avg_pool2d(x, {1, 1}), 4, 1).relu();
}

const std::vector<Pattern>& common_patterns() {
  using N = BuiltImpl;
  using T = const Tensor&;
  static const std::vector<Pattern> all = {
      {"residual sum",
       [](N& n, T x) {
         const auto a = n.layer("a", x, 8).relu();
         return (n.layer("c", n.layer("b", a, 8).relu(), 8) + a).relu();
       },
       {"QLinearAdd"}},
      {"sums without activation, read twice",
       [](N& n, T x) {
         const auto a = n.layer("a", x, 8);
         const auto sum = n.layer("b", a.relu(), 8) + a;
         return n.layer("c", sum, 8) + sum;
       },
       {"QLinearAdd"},
       {{"QuantizeLinear", 1}}},
      {"concatenation of equal ranges",
       [](N& n, T x) {
         const auto a = n.layer("a", x, 8);
         return n.layer("b", torch::cat({a.relu(), n.layer("c", x, 8).relu()}, 1), 8).relu();
       }},
      {"concatenation of unequal ranges",
       [](N& n, T x) {
         const auto wide = n.conv("a", x, 8) * 20, narrow = torch::sigmoid(n.conv("b", x, 8));
         return n.layer("c", torch::cat({wide, narrow, x}, 1), 8).relu();
       },
       {},
       {{"Mul", 1}}},
      {"pyramid pooling",
       [](N& n, T x) {
         const auto a = torch::silu(n.layer("a", x, 8));
         return n
             .layer("b", torch::cat({a, torch::max_pool2d(a, 5, 1, 2), torch::max_pool2d(a, 9, 1, 4)}, 1), 8)
             .relu();
       }},
      {"max-pool and its own siblings",
       [](N& n, T x) {
         const auto a = n.layer("a", x, 8).relu();
         return n.layer("b", torch::max_pool2d(a, 2), 8) + n.layer("c", a, 8, 3, 2);
       },
       {"QLinearAdd"}},
      {"squeeze and excite, sigmoid",
       [](N& n, T x) {
         const auto a = n.layer("a", x, 8).relu();
         return n.layer("b", a * torch::sigmoid(n.conv("up", squeezed(n, a), 8, 1)), 8).relu();
       },
       {"QLinearMul", "QLinearSigmoid"},
       {},
       {},
       {},
       0.01,
       {"down", "up"}},
      {"squeeze and excite, hard sigmoid",
       [](N& n, T x) {
         const auto a = torch::hardswish(n.layer("a", x, 8));
         return n.layer("b", a * torch::hardsigmoid(n.conv("up", squeezed(n, a), 8, 1)), 8).relu();
       },
       {"QLinearMul"},
       {{"HardSigmoid", 2}, {"Mul", 1}},
       {},
       {},
       0.01,
       {"down", "up"}},
      {"nearest upsampling",
       [](N& n, T x) {
         const auto a = n.layer("a", x, 8, 3, 2).relu();
         return n.layer("b", torch::cat({upsampled(a), n.layer("c", x, 8).relu()}, 1), 8).relu();
       }},
      {"bilinear upsampling",
       [](N& n, T x) {
         const auto a = n.layer("a", x, 8, 3, 2).relu();
         return n.layer("b", torch::cat({upsampled(a, {2, 2}, false), n.layer("c", x, 8).relu()}, 1), 8)
             .relu();
       },
       {},
       {{"Resize", 1}}},
      {"chunks",
       [](N& n, T x) {
         const auto halves = n.layer("a", x, 8).relu().chunk(2, 1);
         return n.layer("b", torch::cat({halves[0], n.layer("c", halves[1], 4).relu()}, 1), 8).relu();
       }},
      {"chunks after SiLU, and a sum",
       [](N& n, T x) {
         const auto halves = torch::silu(n.layer("a", x, 8)).chunk(2, 1);
         const auto c = torch::silu(n.layer("c", halves[1], 4)) + halves[1];
         return torch::silu(n.layer("b", torch::cat({halves[0], halves[1], c}, 1), 8));
       },
       {"QLinearAdd", "QLinearMul", "QLinearSigmoid"}},
      {"slices in space",
       [](N& n, T x) {
         using torch::indexing::Slice;
         const auto part = [&](int i, int j) {
           return x.index({Slice(), Slice(), Slice(i, {}, 2), Slice(j, {}, 2)});
         };
         return n.layer("a", torch::cat({part(0, 0), part(1, 0), part(0, 1), part(1, 1)}, 1), 8).relu();
       }},
      {"leaky ReLU",
       [](N& n, T x) { return n.layer("b", torch::leaky_relu(n.layer("a", x, 8), 0.1), 8).relu(); },
       {"QLinearLeakyRelu"}},
      {"hard swish",
       [](N& n, T x) { return n.layer("b", torch::hardswish(n.layer("a", x, 8)), 8).relu(); },
       {},
       {{"HardSigmoid", 1}, {"Mul", 1}}},
      {"ReLU6 and other clippings",
       [](N& n, T x) {
         auto a = torch::relu6(n.layer("a", x, 8));
         a = torch::hardtanh(n.layer("b", a, 8), -1, 2);
         return torch::clamp(n.layer("c", a, 8), 0, 0.5);
       },
       {},
       {{"QuantizeLinear", 1}}},
      {"average pooling",
       [](N& n, T x) {
         const auto a = torch::avg_pool2d(n.layer("a", x, 8).relu(), 3, 2, 1);
         return n.layer("b", torch::adaptive_avg_pool2d(a, {4, 4}), 8).relu();
       },
       {"QLinearAveragePool"}},
      {"global mean, then linear layers",
       [](N& n, T x) { return n.linear("b", n.layer("a", x, 8).relu().mean({2, 3}), 8).relu(); },
       {"QLinearGlobalAveragePool"}},
      {"flattened into linear layers",
       [](N& n, T x) {
         return n.linear("b", torch::max_pool2d(n.layer("a", x, 8).relu(), 4).flatten(1), 8).relu();
       }},
      {"depthwise and grouped",
       [](N& n, T x) {
         const auto a = n.layer("a", x, 8).relu();
         return n.layer("c", n.layer("b", a, 8, 3, 1, 8).relu(), 8, 3, 1, 2).relu();
       }},
      {"transposed convolution",
       [](N& n, T x) {
         const auto a = n.layer("a", x, 8, 3, 2).relu();
         return n.layer("b", n.norm("up_bn", n.transposed("up", a, 8)).relu(), 8).relu();
       },
       {},
       {{"ConvTranspose", 1}},
       {"up"}},
      {"transposed convolution in groups, without bias",
       [](N& n, T x) {
         const auto a = n.layer("a", x, 8, 3, 2).relu();
         return n.layer("b", n.transposed("up", a, 8, 2).relu(), 8).relu();
       },
       {},
       {{"ConvTranspose", 1}},
       {"up"}},
      {"layers left alone between integer layers",
       [](N& n, T x) {
         const auto a = n.layer("b", n.layer("a", x, 8).relu(), 8, 3, 2).relu();
         const auto c = n.layer("c", a, 8, 3, 2).relu();
         return n.linear("e", n.linear("d", c.flatten(1), 8).relu(), 8).relu();
       },
       {},
       {{"Conv", 1}, {"Gemm", 1}},
       {"b", "d"},
       {"b", "d"}},
      {"PReLU",
       [](N& n, T x) { return n.layer("b", n.prelu("p", n.layer("a", x, 8)), 8).relu(); },
       {},
       {{"PRelu", 1}}},
      {"paddings",
       [](N& n, T x) {
         auto a = torch::constant_pad_nd(n.layer("a", x, 8).relu(), {1, 2, 0, 1});
         a = torch::reflection_pad2d(n.layer("b", a, 8).relu(), {1, 1, 1, 1});
         return n.layer("d", torch::constant_pad_nd(n.layer("c", a, 8).relu(), {1, 1, 1, 1}, 0.5), 8).relu();
       },
       {},
       {{"Pad", 3}}},
      {"batch-norm before its convolution",
       [](N& n, T x) {
         const auto a = n.conv("a", x, 8);
         const auto b = n.conv("b", n.norm("b_bn", a).relu(), 8);
         return n.norm("last", a + n.conv("c", n.norm("c_bn", b).relu(), 8)).relu();
       },
       {},
       {{"Add", 1}, {"BatchNormalization", 1}}},
      {"activations that engines compute in floating point",
       [](N& n, T x) {
         auto a = torch::gelu(n.layer("a", x, 8));
         a = torch::elu(n.layer("b", a, 8));
         a = torch::tanh(n.layer("c", a, 8));
         return torch::mish(n.layer("d", a, 8));
       },
       {},
       {{"Elu", 1}, {"Mul", 3}, {"Softplus", 1}, {"Tanh", 1}}},
  };
  return all;
}

}  // namespace

TEST_CASE("target cpu, pattern by pattern: what the plan marks is an integer kernel, and computes the same") {
  check_on_cpu(common_patterns());
}

TEST_CASE("target gpu, pattern by pattern: the file keeps TensorRT's rules, and computes the same") {
  check_on_gpu(common_patterns());
}

namespace {

// Computes something else in evaluation than in training.
struct FickleImpl : nn::Module {
  FickleImpl() { register_module("a", a), register_module("b", b), register_module("c", c); }
  Tensor forward(const Tensor& x) {
    auto y = a(x);
    y = is_training() ? torch::relu(y) : torch::tanh(y);
    if (!is_training() && detour) y = c(y);
    return torch::relu(b(y)).mean({2, 3});
  }
  nn::Conv2d a{nn::Conv2dOptions(3, 8, 3)}, b{nn::Conv2dOptions(8, 4, 3)}, c{nn::Conv2dOptions(8, 8, 1)};
  bool detour = false;
};
TORCH_MODULE(Fickle);

}  // namespace

TEST_CASE("a model that evaluates otherwise than it trains is refused, with the place") {
  torch::manual_seed(4);
  const Folder folder;
  Trained<Fickle> trained("cpu", 4);
  const auto quantization = trained.quantization();
  CHECK_THROWS_WITH(
      export_model(*trained.net, torch::randn({1, 3, 16, 16}), {}, folder / "model.onnx", &quantization),
      ContainsSubstring("b.weight") && ContainsSubstring("otherwise than the recorded graph"));
  trained.net->detour = true;
  CHECK_THROWS_WITH(trained.evaluate(torch::randn({1, 3, 16, 16})),
                    ContainsSubstring("c.weight is not in the quantization plan"));
  CHECK(folder.is_empty());
}
