// SPDX-License-Identifier: Apache-2.0
#include <torch/torch.h>

#include "bench.hpp"
#include "sparsify/masks/n_of_m.hpp"
#include "sparsify/masks/smallest.hpp"
#include "sparsify/trainers/model.hpp"

namespace sparsify::bench {
namespace {

// Shapes of YOLOv3's largest convolutions, 62 M weights in all.
std::vector<torch::Tensor> yolo_sized_weights() {
  torch::manual_seed(0);
  std::vector<torch::Tensor> weights;
  for (int i = 0; i < 9; ++i) weights.push_back(torch::randn({1024, 512, 3, 3}) * 0.02);
  for (int i = 0; i < 14; ++i) weights.push_back(torch::randn({512, 256, 3, 3}) * 0.03);
  for (int i = 0; i < 5; ++i) weights.push_back(torch::randn({512, 1024, 1, 1}) * 0.04);
  return weights;
}

int64_t count(const std::vector<torch::Tensor>& tensors) {
  int64_t total = 0;
  for (const auto& tensor : tensors) total += tensor.numel();
  return total;
}

// What the textbook does: sort the magnitudes, take the threshold, compare.
torch::Tensor mask_by_sort(const torch::Tensor& flat, const torch::Tensor& weight, double sparsity) {
  const auto sorted = std::get<0>(flat.abs().sort());
  return weight.abs() > sorted[std::llround(sparsity * flat.numel()) - 1];
}

void update_every_layer(const std::vector<torch::Tensor>& weights) {
  std::vector<std::vector<torch::Tensor>> layers;
  std::vector<int64_t> pruned;
  for (const auto& weight : weights)
    layers.push_back({weight}), pruned.push_back(std::llround(0.85 * weight.numel()));
  smallest_magnitude_masks(layers, pruned);
}

Record layerwise() {
  const auto weights = yolo_sized_weights();
  return compare(
      "mask/update",
      std::to_string(count(weights) / 1000000) + " M weights, every layer to 85 %, against sort", 3,
      [&] { update_every_layer(weights); },
      [&] {
        for (const auto& weight : weights) mask_by_sort(weight.flatten(), weight, 0.85);
      });
}

Record global() {
  const auto weights = yolo_sized_weights();
  return compare(
      "mask/update-global",
      std::to_string(count(weights) / 1000000) + " M weights together to 85 %, against sort", 3,
      [&] { smallest_magnitude_masks({weights}, {std::llround(0.85 * count(weights))}); },
      [&] {
        std::vector<torch::Tensor> flat;
        for (const auto& weight : weights) flat.push_back(weight.flatten());
        const auto all = torch::cat(flat);
        mask_by_sort(all, all, 0.85);
      });
}

Record stream() {
  const auto weights = yolo_sized_weights();
  double sum = 0;
  return compare(
      "mask/stream", "the same layer-wise update against one streaming read of the weights", 9,
      [&] { update_every_layer(weights); },
      [&] {
        for (const auto& weight : weights) {
          const auto* values = weight.const_data_ptr<float>();
          const int64_t n = weight.numel();
          float part = 0;
#pragma omp parallel for simd reduction(+ : part)
          for (int64_t i = 0; i < n; ++i) part += values[i];
          sum += part;
        }
      });
}

// The weights of ResNeXt-101 32x8d that can be 2:4.
std::vector<torch::Tensor> resnext_weights() {
  std::vector<torch::Tensor> weights;
  for (const auto& parameter : build_model("resnext101_32x8d", {})->parameters())
    if (parameter.dim() >= 2 && parameter.size(1) % 4 == 0) weights.push_back(parameter.detach());
  return weights;
}

// With LibTorch alone: the two largest of every four along input channels, by topk and scatter.
torch::Tensor two_of_four_by_topk(const torch::Tensor& weight) {
  const auto groups = weight.abs().transpose(1, -1).contiguous().reshape({-1, 4});
  const auto kept = std::get<1>(groups.topk(2, 1));
  const auto mask = torch::zeros_like(groups, torch::kBool).scatter_(1, kept, true);
  return mask.reshape(weight.transpose(1, -1).sizes()).transpose(1, -1).contiguous();
}

Record two_of_four() {
  const auto weights = resnext_weights();
  return compare(
      "mask/nm",
      "2:4 over ResNeXt-101's " + std::to_string(count(weights) / 1000000) +
          " M weights, against topk and scatter",
      3,
      [&] {
        for (const auto& weight : weights) n_of_m_mask(weight, {2, 4});
      },
      [&] {
        for (const auto& weight : weights) two_of_four_by_topk(weight);
      });
}

}  // namespace

std::vector<Comparison> mask_comparisons() {
  return {{"mask/update", layerwise},
          {"mask/update-global", global},
          {"mask/stream", stream},
          {"mask/nm", two_of_four}};
}

}  // namespace sparsify::bench
