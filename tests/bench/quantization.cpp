// SPDX-License-Identifier: Apache-2.0
#include <torch/torch.h>

#include "bench.hpp"
#include "sparsify/modifiers/quantization.hpp"
#include "training.hpp"

namespace sparsify::bench {
namespace {

constexpr int kPairs = 9;

/// The backbone of YOLOv3 (Redmon and Farhadi 2018, arXiv 1804.02767, table 1) with its mean as a classifier.
struct Darknet53 : Model {
  Darknet53() {
    add(3, 32, 3, 1);
    int64_t channels = 32;
    for (const int64_t blocks : {1, 2, 8, 8, 4}) {
      add(channels, 2 * channels, 3, 2);
      channels *= 2;
      for (int64_t i = 0; i < blocks; ++i) {
        shortcuts.push_back(static_cast<int64_t>(convolutions->size()) + 1);
        add(channels, channels / 2, 1, 1);
        add(channels / 2, channels, 3, 1);
      }
    }
    head = register_module("head", torch::nn::Linear(channels, 80));
  }

  void add(int64_t in, int64_t out, int64_t kernel, int64_t stride) {
    convolutions->push_back(torch::nn::Conv2d(
        torch::nn::Conv2dOptions(in, out, kernel).stride(stride).padding(kernel / 2).bias(false)));
    norms->push_back(torch::nn::BatchNorm2d(out));
  }

  torch::Tensor forward(torch::Tensor x) override {
    torch::Tensor shortcut;
    for (size_t i = 0, next = 0; i < convolutions->size(); ++i) {
      const bool closes = next < shortcuts.size() && shortcuts[next] == static_cast<int64_t>(i);
      if (next < shortcuts.size() && shortcuts[next] == static_cast<int64_t>(i) + 1) shortcut = x;
      x = norms[i]->as<torch::nn::BatchNorm2d>()->forward(
          convolutions[i]->as<torch::nn::Conv2d>()->forward(x));
      x = torch::leaky_relu_(x, 0.1);
      if (closes) x = x + shortcut, ++next;
    }
    return head(x.mean({2, 3}));
  }

  torch::nn::ModuleList convolutions = register_module("convolutions", torch::nn::ModuleList());
  torch::nn::ModuleList norms = register_module("norms", torch::nn::ModuleList());
  torch::nn::Linear head{nullptr};
  std::vector<int64_t> shortcuts;  ///< the second convolution of each residual block
};

Record qat_step(const std::string& name, const std::string& what, BatchShape shape,
                const std::function<std::shared_ptr<Model>()>& make) {
  Recipe recipe;
  recipe.add<Quantization>();
  Training dense(make(), shape, "auto", true), quantized(make(), shape, "auto", true, recipe);
  quantized.step();  // records the graph
  auto record = compare(
      name, what + ": one training step with fake-quantization, against without", kPairs,
      [&] { quantized.step(); }, [&] { dense.step(); });
  record.precision = to_string(dense.precision);
  return record;
}

Record resnet_step() {
  return qat_step("step/qat", "ResNet-50, 224 px, batch 8", {8, 224, 1000},
                  [] { return build_model("resnet50"); });
}

Record darknet_step() {
  return qat_step("step/qat-darknet", "YOLOv3's Darknet-53, 256 px, batch 4", {4, 256, 80},
                  [] { return std::make_shared<Darknet53>(); });
}

// An activation of ResNet-50's first stage, far larger than the caches.
Record fused() {
  torch::manual_seed(0);
  const auto x = torch::rand({8, 256, 56, 56}).contiguous(at::MemoryFormat::ChannelsLast).requires_grad_();
  const auto gradient = torch::randn_like(x);
  const Grid grid{1.0f / 255, 0, 0, 255};
  return compare(
      "quant/fused", "observe, round and pass the gradient on, against LibTorch's aminmax and fake_quantize",
      15,
      [&] {
        Extent seen;
        torch::autograd::grad({fake_quantize(x, grid, &seen)}, {x}, {gradient});
      },
      [&] {
        x.detach().aminmax();
        const auto rounded =
            torch::fake_quantize_per_tensor_affine(x, grid.scale, grid.zero_point, grid.lowest, grid.highest);
        torch::autograd::grad({rounded}, {x}, {gradient});
      });
}

// The same activation through batch norm, ReLU and rounding, forward and backward.
Record fused_norm() {
  torch::manual_seed(0);
  const auto x = torch::randn({8, 256, 56, 56}).contiguous(at::MemoryFormat::ChannelsLast).requires_grad_();
  const auto gradient = torch::randn_like(x);
  const auto gamma = torch::ones({256}).requires_grad_(), beta = torch::zeros({256}).requires_grad_();
  NormCall call;
  call.running_mean = torch::zeros({256}), call.running_var = torch::ones({256});
  call.relu = call.rounds = true;
  call.grid = {3.0f / 255, 0, 0, 255};
  const auto norm = [&] {
    return torch::batch_norm(x, gamma, beta, call.running_mean, call.running_var, true, 0.1, 1e-5, false);
  };
  return compare(
      "quant/norm",
      "batch norm, ReLU and rounding at once, against LibTorch's batch norm and relu_ without rounding", 15,
      [&] {
        Extent seen;
        call.seen = &seen;
        torch::autograd::grad({fused_batch_norm(x, gamma, beta, call)}, {x, gamma, beta}, {gradient});
      },
      [&] { torch::autograd::grad({norm().relu_()}, {x, gamma, beta}, {gradient}); });
}

}  // namespace

std::vector<Comparison> quantization_comparisons() {
  return {{"step/qat", resnet_step},
          {"step/qat-darknet", darknet_step},
          {"quant/fused", fused},
          {"quant/norm", fused_norm}};
}

}  // namespace sparsify::bench
