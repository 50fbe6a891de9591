// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <torch/torch.h>

#include <functional>
#include <string>
#include <vector>

#include "sparsify/session.hpp"

// Networks that couple channels, and a loop to train them.

namespace sparsify::test {

namespace nn = torch::nn;
using Strings = std::vector<std::string>;

inline nn::Conv2d conv(int64_t in, int64_t out, int64_t kernel = 3, int64_t groups = 1, bool bias = false) {
  return nn::Conv2d(nn::Conv2dOptions(in, out, kernel).padding(kernel / 2).groups(groups).bias(bias));
}

// A residual block with a downsampling branch and a gate, then depthwise, concatenation, flatten and linear:
// all that couples channels.
struct Coupled : nn::Module {
  Coupled() {
    register_module("stem", stem), register_module("bn0", bn0), register_module("conv1", conv1);
    register_module("bn1", bn1), register_module("conv2", conv2), register_module("bn2", bn2);
    register_module("down", down), register_module("bnd", bnd), register_module("squeeze", squeeze);
    register_module("excite", excite), register_module("dw", dw), register_module("bnw", bnw);
    register_module("join", join), register_module("bnj", bnj), register_module("fc", fc);
    register_module("head", head);
    torch::NoGradGuard no_grad;
    for (auto& entry : named_parameters())
      if (entry.key().find("bn") == 0) entry.value().uniform_(-1.5, 1.5);
    for (auto& entry : named_buffers())
      if (entry.value().is_floating_point()) entry.value().uniform_(0.2, 2);
  }
  at::Tensor forward(const at::Tensor& image) {
    const auto x = bn0(stem(image)).relu_();
    auto y = bn2(conv2(torch::silu(bn1(conv1(x)))));
    const auto gate = torch::hardsigmoid(excite(torch::relu(squeeze(torch::adaptive_avg_pool2d(y, {1, 1})))));
    y = torch::relu(y * gate + bnd(down(x)));
    auto z = torch::leaky_relu(bnw(dw(torch::max_pool2d(y, 2))), 0.1);
    z = torch::relu(bnj(join(torch::cat({z, torch::avg_pool2d(x, 2)}, 1))));
    return head(torch::relu(fc(torch::flatten(torch::dropout(z, 0.1, false), 1))));
  }
  nn::Conv2d stem = conv(3, 16), conv1 = conv(16, 24), conv2 = conv(24, 32), down = conv(16, 32, 1),
             squeeze = conv(32, 8, 1, 1, true), excite = conv(8, 32, 1, 1, true), dw = conv(32, 32, 3, 32),
             join = conv(48, 16);
  nn::BatchNorm2d bn0{16}, bn1{24}, bn2{32}, bnd{32}, bnw{32}, bnj{16};
  nn::Linear fc{16 * 9, 20}, head{20, 4};
};

// What a ResNeXt is made of: channels go into a grouped convolution in groups of 8, and come out in groups
// of 16.
struct Grouped : nn::Module {
  Grouped() {
    register_module("stem", stem), register_module("conv1", conv1), register_module("bn1", bn1);
    register_module("conv2", conv2), register_module("bn2", bn2), register_module("conv3", conv3);
    register_module("head", head);
    const torch::NoGradGuard no_grad;
    for (auto& entry : named_parameters())
      if (entry.key().find("bn") == 0) entry.value().uniform_(-1.5, 1.5);
  }
  at::Tensor forward(const at::Tensor& image) {
    const auto x = torch::relu(stem(image));
    const auto y = torch::relu(bn2(conv2(torch::relu(bn1(conv1(x))))));
    return head(torch::relu(x + conv3(y)).mean({2, 3}));
  }
  nn::Conv2d stem = conv(3, 16), conv1 = conv(16, 32, 1), conv2 = conv(32, 64, 3, 4, true),
             conv3 = conv(64, 16, 1);
  nn::BatchNorm2d bn1{32}, bn2{64};
  nn::Linear head{16, 4};
};

inline at::Tensor images(int64_t n = 8) { return torch::randn({n, 3, 6, 6}); }

inline void train(Session& session, nn::Module& module,
                  const std::function<at::Tensor(const at::Tensor&)>& forward,
                  torch::optim::Optimizer& optimizer, int steps) {
  module.train();
  for (int i = 0; i < steps; ++i) {
    auto step = session.begin_step();
    optimizer.zero_grad();
    const auto x = images();
    const auto labels = x.slice(1, 0, 1).mean({1, 2, 3}).gt(0).to(torch::kLong);
    const auto logits = step.forward([&] { return forward(x); });
    step.loss(torch::nn::functional::cross_entropy(logits, labels)).backward();
    step.optimize();
  }
}

}  // namespace sparsify::test
