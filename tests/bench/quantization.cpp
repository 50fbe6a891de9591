// SPDX-License-Identifier: Apache-2.0
#include <torch/torch.h>

#include "bench.hpp"
#include "sparsify/modifiers/quantization.hpp"
#include "training.hpp"
#include "yolov3_training.hpp"

namespace sparsify::bench {
namespace {

constexpr int kPairs = 9;

template <class Trained>
Record qat_step(const std::string& name, const std::string& what) {
  Recipe recipe;
  recipe.add<Quantization>();
  Trained dense, quantized({.recipe = recipe});
  quantized.step();  // records the graph
  auto record = compare(
      name, what + ": one training step with fake-quantization, against without", kPairs,
      [&] { quantized.step(); }, [&] { dense.step(); });
  record.precision = to_string(dense.precision);
  return record;
}

Record resnet_step() { return qat_step<ResNet50>("step/qat", "ResNet-50, 224 px, batch 8"); }

Record yolo_step() { return qat_step<YoloV3>("step/qat-yolov3", "YOLOv3 and its loss, 416 px, batch 4"); }

// An activation of ResNet-50's first stage, far larger than the caches.
Record fused(const std::string& name, torch::ScalarType type) {
  torch::manual_seed(0);
  const auto x =
      torch::rand({8, 256, 56, 56}).to(type).contiguous(at::MemoryFormat::ChannelsLast).requires_grad_();
  const auto gradient = torch::randn_like(x);
  const Grid grid{1.0f / 255, 0, 0, 255};
  auto record = compare(
      name, "observe, round and pass the gradient on, against LibTorch's aminmax and fake_quantize", 15,
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
  if (type == torch::kBFloat16) record.precision = "bf16";
  return record;
}

// The same activation through batch norm, ReLU and rounding, forward and backward.
Record fused_norm() {
  torch::manual_seed(0);
  const auto x = torch::randn({8, 256, 56, 56}).contiguous(at::MemoryFormat::ChannelsLast).requires_grad_();
  const auto gradient = torch::randn_like(x);
  const auto gamma = torch::ones({256}).requires_grad_(), beta = torch::zeros({256}).requires_grad_();
  NormCall call;
  call.running_mean = torch::zeros({256}), call.running_var = torch::ones({256});
  call.clip = {0};
  call.rounds = true;
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
          {"step/qat-yolov3", yolo_step},
          {"quant/fused", [] { return fused("quant/fused", torch::kFloat); }},
          {"quant/fused-bf16", [] { return fused("quant/fused-bf16", torch::kBFloat16); }},
          {"quant/norm", fused_norm}};
}

}  // namespace sparsify::bench
