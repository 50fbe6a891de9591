// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sparsify/trainers/model.hpp"

namespace sparsify::models {

enum class Block { kBasic, kBottleneck };
enum class Stem { kImageNet, kCifar };  // 7x7 stride 2 and max-pool, or a single 3x3
enum class Shortcut {
  kProjection,
  kZeroPad
};  // 1x1 convolution and BN, or option A: slice and pad, no weights

struct ResNetSpec {
  Block block = Block::kBasic;
  Stem stem = Stem::kImageNet;
  Shortcut shortcut = Shortcut::kProjection;
  int64_t stem_channels = 64;
  int64_t stem_stride = 1;  // of the CIFAR stem
  std::vector<int64_t> planes = {64, 128, 256, 512};
  std::vector<int64_t> blocks = {2, 2, 2, 2};
  std::vector<int64_t> strides = {1, 2, 2, 2};  // of each stage's first block
  int64_t groups = 1;
  int64_t width_per_group = 64;  // of 64 planes; the others scale with it
  int64_t expansion = 4;         // of the bottleneck
  std::string classifier = "fc";
};

/// ResNet and ResNeXt, "V1.5": the stride sits on the 3x3 convolution of a bottleneck.
class ResNet : public Model {
 public:
  ResNet(const ResNetSpec& spec, const ModelOptions& options);
  torch::Tensor forward(torch::Tensor images) override;

 private:
  void initialise();

  bool max_pool_;
  torch::nn::Conv2d conv1_{nullptr};
  torch::nn::BatchNorm2d bn1_{nullptr};
  std::vector<torch::nn::Sequential> stages_;
  torch::nn::Linear classifier_{nullptr};
};

}  // namespace sparsify::models
