// SPDX-License-Identifier: Apache-2.0
#include "models/resnet.hpp"

#include "models/resnet_blocks.hpp"

namespace sparsify::models {
namespace {

torch::nn::Conv2d make_stem(const ResNetSpec& spec, int64_t in_channels) {
  if (spec.stem == Stem::kImageNet) return convolution(in_channels, spec.stem_channels, 7, 2);
  return convolution(in_channels, spec.stem_channels, 3, spec.stem_stride);
}

template <typename BlockType>
torch::nn::Sequential make_stage(const ResNetSpec& spec, size_t stage, int64_t in, int64_t out) {
  torch::nn::Sequential blocks;
  for (int64_t i = 0; i < spec.blocks[stage]; ++i) {
    const bool first = i == 0;
    blocks->push_back(std::make_shared<BlockType>(spec, first ? in : out, spec.planes[stage],
                                                  first ? spec.strides[stage] : 1));
  }
  return blocks;
}

}  // namespace

ResNet::ResNet(const ResNetSpec& spec, const ModelOptions& options)
    : max_pool_(spec.stem == Stem::kImageNet) {
  conv1_ = register_module("conv1", make_stem(spec, options.in_channels));
  bn1_ = register_module("bn1", torch::nn::BatchNorm2d(spec.stem_channels));
  const bool basic = spec.block == Block::kBasic;
  int64_t channels = spec.stem_channels;
  for (size_t stage = 0; stage < spec.planes.size(); ++stage) {
    const int64_t out = spec.planes[stage] * (basic ? 1 : spec.expansion);
    auto blocks = basic ? make_stage<BasicBlock>(spec, stage, channels, out)
                        : make_stage<Bottleneck>(spec, stage, channels, out);
    stages_.push_back(register_module("layer" + std::to_string(stage + 1), blocks));
    channels = out;
  }
  classifier_ = register_module(spec.classifier, torch::nn::Linear(channels, options.num_classes));
  initialise();
}

torch::Tensor ResNet::forward(torch::Tensor images) {
  auto x = bn1_(conv1_(images)).relu_();
  if (max_pool_) x = torch::max_pool2d(x, 3, 2, 1);
  for (auto& stage : stages_) x = stage->forward(x);
  x = torch::adaptive_avg_pool2d(x, {1, 1}).flatten(1);
  return classifier_(x);
}

// torchvision's: convolutions normal with variance 2 / fan_out; LibTorch's defaults fit for the rest (BN 1
// and 0).
void ResNet::initialise() {
  for (const auto& module : modules(/*include_self=*/false)) {
    if (const auto* convolution = module->as<torch::nn::Conv2d>()) {
      torch::nn::init::kaiming_normal_(convolution->weight, 0.0, torch::kFanOut, torch::kReLU);
    }
  }
}

}  // namespace sparsify::models
