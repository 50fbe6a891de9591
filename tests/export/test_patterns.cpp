// SPDX-License-Identifier: Apache-2.0
// Where quantizers go around every kind of operator, and what engines make of it: one small network for each.
#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_all.hpp>
#include <set>

#include "sparsify/onnx/check.hpp"
#include "sparsify/onnx/lint.hpp"
#include "support.hpp"
#include "trained.hpp"

namespace nn = torch::nn;
using namespace sparsify;
using namespace sparsify::onnx;
using namespace sparsify::onnx::testing;
using at::Tensor;
using Catch::Matchers::ContainsSubstring;

namespace {

// A network whose forward pass makes each layer where it first asks for it. What the pattern gives is pooled,
// unless it is flat already, and classified by "fc".
struct BuiltImpl : nn::Module {
  using Pattern = std::function<Tensor(BuiltImpl&, const Tensor&)>;

  explicit BuiltImpl(Pattern pattern = plain) : pattern_(std::move(pattern)) {
    forward(torch::randn({2, 3, 16, 16}));
  }
  Tensor forward(const Tensor& input) {
    auto x = pattern_(*this, input);
    if (x.dim() == 4) x = torch::adaptive_avg_pool2d(x, {1, 1}).flatten(1);
    return linear("fc", x, 4);
  }

  Tensor conv(const std::string& name, const Tensor& x, std::int64_t out, std::int64_t kernel = 3,
              std::int64_t stride = 1, std::int64_t groups = 1, bool bias = true) {
    const auto options = nn::Conv2dOptions(x.size(1), out, kernel)
                             .stride(stride)
                             .padding(kernel / 2)
                             .groups(groups)
                             .bias(bias);
    return made(convs_, name, options)(x);
  }
  Tensor norm(const std::string& name, const Tensor& x) { return made(norms_, name, x.size(1))(x); }
  /// Convolution and batch-norm.
  Tensor layer(const std::string& name, const Tensor& x, std::int64_t out, std::int64_t kernel = 3,
               std::int64_t stride = 1, std::int64_t groups = 1) {
    return norm(name + "_bn", conv(name, x, out, kernel, stride, groups, false));
  }
  Tensor linear(const std::string& name, const Tensor& x, std::int64_t out) {
    return made(linears_, name, x.size(-1), out)(x);
  }
  Tensor transposed(const std::string& name, const Tensor& x, std::int64_t out, std::int64_t groups = 1) {
    return made(transposed_, name,
                nn::ConvTranspose2dOptions(x.size(1), out, 2).stride(2).groups(groups).bias(groups == 1))(x);
  }
  Tensor prelu(const std::string& name, const Tensor& x) {
    return made(prelus_, name, nn::PReLUOptions().num_parameters(x.size(1)))(x);
  }

 private:
  static Tensor plain(BuiltImpl& n, const Tensor& x) { return n.layer("a", x, 8); }

  template <class Module, class... Arguments>
  Module& made(std::map<std::string, Module>& all, const std::string& name, Arguments&&... arguments) {
    auto found = all.find(name);
    if (found == all.end())
      found = all.emplace(name, register_module(name, Module(std::forward<Arguments>(arguments)...))).first;
    return found->second;
  }

  Pattern pattern_;
  std::map<std::string, nn::Conv2d> convs_;
  std::map<std::string, nn::BatchNorm2d> norms_;
  std::map<std::string, nn::Linear> linears_;
  std::map<std::string, nn::ConvTranspose2d> transposed_;
  std::map<std::string, nn::PReLU> prelus_;
};
TORCH_MODULE(Built);

Tensor upsampled(const Tensor& x, std::vector<double> factor = {2, 2}, bool nearest = true) {
  nn::functional::InterpolateFuncOptions options;
  options.scale_factor(factor);
  if (nearest)
    options.mode(torch::kNearest);
  else
    options.mode(torch::kBilinear).align_corners(false);
  return nn::functional::interpolate(x, options);
}

Tensor squeezed(BuiltImpl& n, const Tensor& x) {
  return n.conv("down", torch::adaptive_avg_pool2d(x, {1, 1}), 4, 1).relu();
}

struct Case {
  const char* name;
  BuiltImpl::Pattern pattern;
  std::set<std::string> kernels{};  ///< integer operators that ONNX Runtime must run, beside those of layers
  std::set<std::string> floats{};   ///< layers that no engine computes in integers
  std::vector<std::string> ignore{};
};

const std::vector<Case>& cases() {
  using N = BuiltImpl;
  using T = const Tensor&;
  static const std::vector<Case> all = {
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
       {"QLinearAdd"}},
      {"concatenation of equal ranges",
       [](N& n, T x) {
         const auto a = n.layer("a", x, 8);
         return n.layer("b", torch::cat({a.relu(), n.layer("c", x, 8).relu()}, 1), 8).relu();
       }},
      {"concatenation of unequal ranges",
       [](N& n, T x) {
         const auto wide = n.conv("a", x, 8) * 20, narrow = torch::sigmoid(n.conv("b", x, 8));
         return n.layer("c", torch::cat({wide, narrow, x}, 1), 8).relu();
       }},
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
       {"QLinearMul", "QLinearSigmoid"}},
      {"squeeze and excite, hard sigmoid",
       [](N& n, T x) {
         const auto a = torch::hardswish(n.layer("a", x, 8));
         return n.layer("b", a * torch::hardsigmoid(n.conv("up", squeezed(n, a), 8, 1)), 8).relu();
       },
       {"QLinearMul"}},
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
       }},
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
      {"hard swish", [](N& n, T x) { return n.layer("b", torch::hardswish(n.layer("a", x, 8)), 8).relu(); }},
      {"ReLU6 and other clippings",
       [](N& n, T x) {
         auto a = torch::relu6(n.layer("a", x, 8));
         a = torch::hardtanh(n.layer("b", a, 8), -1, 2);
         return torch::clamp(n.layer("c", a, 8), 0, 0.5);
       }},
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
       {"up"}},
      {"transposed convolution in groups, without bias",
       [](N& n, T x) {
         const auto a = n.layer("a", x, 8, 3, 2).relu();
         return n.layer("b", n.transposed("up", a, 8, 2).relu(), 8).relu();
       },
       {},
       {"up"}},
      {"layers left alone between integer layers",
       [](N& n, T x) {
         const auto a = n.layer("b", n.layer("a", x, 8).relu(), 8, 3, 2).relu();
         const auto c = n.layer("c", a, 8, 3, 2).relu();
         return n.linear("e", n.linear("d", c.flatten(1), 8).relu(), 8).relu();
       },
       {},
       {"b", "d"},
       {"b", "d"}},
      {"PReLU", [](N& n, T x) { return n.layer("b", n.prelu("p", n.layer("a", x, 8)), 8).relu(); }},
      {"paddings",
       [](N& n, T x) {
         auto a = torch::constant_pad_nd(n.layer("a", x, 8).relu(), {1, 2, 0, 1});
         a = torch::reflection_pad2d(n.layer("b", a, 8).relu(), {1, 1, 1, 1});
         return n.layer("d", torch::constant_pad_nd(n.layer("c", a, 8).relu(), {1, 1, 1, 1}, 0.5), 8).relu();
       }},
      {"batch-norm before its convolution",
       [](N& n, T x) {
         const auto a = n.conv("a", x, 8);
         const auto b = n.conv("b", n.norm("b_bn", a).relu(), 8);
         return n.norm("last", a + n.conv("c", n.norm("c_bn", b).relu(), 8)).relu();
       }},
      {"activations that engines compute in floating point",
       [](N& n, T x) {
         auto a = torch::gelu(n.layer("a", x, 8));
         a = torch::elu(n.layer("b", a, 8));
         a = torch::tanh(n.layer("c", a, 8));
         return torch::mish(n.layer("d", a, 8));
       }},
  };
  return all;
}

std::vector<std::string> sorted(std::vector<std::string> names) {
  std::sort(names.begin(), names.end());
  return names;
}

Quantization::Options options_of(const Case& one, Target target) {
  Quantization::Options options;
  options.scheme = name(target);
  options.ignore = one.ignore;
  return options;
}

struct Exported {
  Trained<Built> trained;
  ExportReport report;

  Exported(const Case& one, Target target, const std::filesystem::path& path)
      : trained(options_of(one, target), 8, Built(one.pattern)) {
    ExportOptions options;
    options.target = target;
    const auto quantization = trained.quantization();
    report = export_model(*trained.net, torch::randn({2, 3, 16, 16}), options, path, &quantization);
    check_model(path);
  }
};

void check_parity(Exported& exported, const EngineOptions& how) {
  const auto images = stripes(64).first;
  for (const auto& tensor : exported.trained.compare_tensors(exported.report, how, images)) {
    INFO(tensor.site << ": " << 100 * tensor.share() << " % differ, by " << tensor.largest);
    CHECK(tensor.share() <= 0.01);
    CHECK(tensor.largest <= 6);  // one step more before a sigmoid or tanh is several behind it
  }
  const auto expected = exported.trained.evaluate(images);
  const auto actual = Engine(exported.report.path, how).run(images);
  const auto spread = expected.std().item<double>();
  INFO("logits: " << largest_difference(actual, expected) << " of " << spread);
  CHECK(largest_difference(actual, expected) < 0.05 * spread);
}

}  // namespace

TEST_CASE("target cpu, pattern by pattern: what the plan marks is an integer kernel, and computes the same") {
  for (const auto& one : cases()) {
    INFO(one.name);
    torch::manual_seed(3);
    const Folder folder;
    Exported exported(one, Target::kCpu, folder / "model.onnx");
    const auto& report = exported.report;
    std::set<std::string> floats;
    for (const auto& left : report.unquantized) floats.insert(left.site);
    CHECK(floats == one.floats);
    const auto fusion = integer_layers(folder / "model.onnx");
    for (const auto& [op, count] : fusion.operators) UNSCOPED_INFO(op << " " << count);
    CHECK(sorted(fusion.integer_layers) == sorted(report.quantized));
    for (const auto& kernel : one.kernels) CHECK(fusion.operators.count(kernel) == 1);
    check_parity(exported, {});
  }
}

TEST_CASE("target gpu, pattern by pattern: the file keeps TensorRT's rules, and computes the same") {
  EngineOptions literal;
  literal.optimize = false;
  for (const auto& one : cases()) {
    INFO(one.name);
    torch::manual_seed(3);
    const Folder folder;
    Exported exported(one, Target::kGpu, folder / "model.onnx");
    std::set<std::string> floats;
    for (const auto& left : exported.report.unquantized) floats.insert(left.site);
    CHECK(floats == one.floats);
    for (const auto& finding : lint_gpu(folder / "model.onnx").findings)
      FAIL_CHECK(finding.rule << " " << finding.node << " " << finding.message);
    check_parity(exported, literal);
  }
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
