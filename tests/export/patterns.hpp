// SPDX-License-Identifier: Apache-2.0
// Small networks made of one pattern of operators, and what must hold of each of them once it is exported.
#pragma once

#include <torch/torch.h>

#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace sparsify::onnx::testing {

/// A network whose forward pass makes each layer where it first asks for it. What the pattern gives is
/// pooled, unless it is flat already, and classified by "fc".
struct BuiltImpl : torch::nn::Module {
  using Forward = std::function<at::Tensor(BuiltImpl&, const at::Tensor&)>;

  explicit BuiltImpl(Forward pattern = plain) : pattern_(std::move(pattern)) {
    forward(torch::randn({2, 3, 16, 16}));
  }
  at::Tensor forward(const at::Tensor& input) {
    auto x = pattern_(*this, input);
    if (x.dim() == 4) x = torch::adaptive_avg_pool2d(x, {1, 1}).flatten(1);
    return linear("fc", x, 4);
  }

  at::Tensor conv(const std::string& name, const at::Tensor& x, std::int64_t out, std::int64_t kernel = 3,
                  std::int64_t stride = 1, std::int64_t groups = 1, bool bias = true) {
    const auto options = torch::nn::Conv2dOptions(x.size(1), out, kernel)
                             .stride(stride)
                             .padding(kernel / 2)
                             .groups(groups)
                             .bias(bias);
    return made(convs_, name, options)(x);
  }
  at::Tensor norm(const std::string& name, const at::Tensor& x) { return made(norms_, name, x.size(1))(x); }
  /// Convolution and batch-norm.
  at::Tensor layer(const std::string& name, const at::Tensor& x, std::int64_t out, std::int64_t kernel = 3,
                   std::int64_t stride = 1, std::int64_t groups = 1) {
    return norm(name + "_bn", conv(name, x, out, kernel, stride, groups, false));
  }
  at::Tensor linear(const std::string& name, const at::Tensor& x, std::int64_t out) {
    return made(linears_, name, x.size(-1), out)(x);
  }
  at::Tensor transposed(const std::string& name, const at::Tensor& x, std::int64_t out,
                        std::int64_t groups = 1) {
    return made(
        transposed_, name,
        torch::nn::ConvTranspose2dOptions(x.size(1), out, 2).stride(2).groups(groups).bias(groups == 1))(x);
  }
  at::Tensor prelu(const std::string& name, const at::Tensor& x) {
    return made(prelus_, name, torch::nn::PReLUOptions().num_parameters(x.size(1)))(x);
  }
  at::Tensor group_norm(const std::string& name, const at::Tensor& x, std::int64_t groups) {
    return made(group_norms_, name, torch::nn::GroupNormOptions(groups, x.size(1)))(x);
  }

 private:
  static at::Tensor plain(BuiltImpl& n, const at::Tensor& x) { return n.layer("a", x, 8); }

  template <class Module, class... Arguments>
  Module& made(std::map<std::string, Module>& all, const std::string& name, Arguments&&... arguments) {
    auto found = all.find(name);
    if (found == all.end())
      found = all.emplace(name, register_module(name, Module(std::forward<Arguments>(arguments)...))).first;
    return found->second;
  }

  Forward pattern_;
  std::map<std::string, torch::nn::Conv2d> convs_;
  std::map<std::string, torch::nn::BatchNorm2d> norms_;
  std::map<std::string, torch::nn::Linear> linears_;
  std::map<std::string, torch::nn::ConvTranspose2d> transposed_;
  std::map<std::string, torch::nn::PReLU> prelus_;
  std::map<std::string, torch::nn::GroupNorm> group_norms_;
};
TORCH_MODULE(Built);

inline at::Tensor upsampled(const at::Tensor& x, std::vector<double> factor = {2, 2}, bool nearest = true) {
  torch::nn::functional::InterpolateFuncOptions options;
  options.scale_factor(factor);
  if (nearest)
    options.mode(torch::kNearest);
  else
    options.mode(torch::kBilinear).align_corners(false);
  return torch::nn::functional::interpolate(x, options);
}

/// A pattern of operators and what ONNX Runtime makes of it.
struct Pattern {
  const char* name;
  BuiltImpl::Forward forward;
  std::set<std::string> kernels{};  ///< integer operators that it must run, beside those of layers
  std::map<std::string, std::int64_t> islands{};  ///< operators that it computes in floating point between
                                                  ///< integers; QuantizeLinear: from one grid to another
  std::set<std::string> floats{};                 ///< layers that no engine computes in integers
  std::vector<std::string> ignore{};
  double differing = 0.01;             ///< share of a tensor's integers that may be off
  std::set<std::string> gpu_floats{};  ///< layers that GPU engines do not compute in integers, either
};

/// Trains each for a few steps, exports it and checks that all layers but `floats` are integer kernels in
/// ONNX Runtime, that nothing else but `islands` computes in floating point, and that it computes what
/// training saw.
void check_on_cpu(const std::vector<Pattern>& patterns);

/// The same for target gpu: the file keeps TensorRT's rules, and computes what training saw.
void check_on_gpu(const std::vector<Pattern>& patterns);

}  // namespace sparsify::onnx::testing
