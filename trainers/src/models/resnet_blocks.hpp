// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "models/resnet.hpp"

namespace sparsify::models {

/// A convolution without bias, padded so that stride 1 keeps the size.
torch::nn::Conv2d convolution(int64_t in, int64_t out, int64_t kernel, int64_t stride = 1,
                              int64_t groups = 1);

/// What a residual block adds to its result: the input itself, projected, or sliced and zero-padded.
class Residual : public torch::nn::Module {
 protected:
  Residual(Shortcut shortcut, int64_t in, int64_t out, int64_t stride);
  /// Registers `downsample` if there is one; called last, which gives torchvision's order of entries.
  void register_shortcut();
  torch::Tensor shortcut(const torch::Tensor& input);

 private:
  Shortcut kind_;
  int64_t in_, out_, stride_;
  torch::nn::Sequential downsample_{nullptr};
};

/// Two 3x3 convolutions.
class BasicBlock : public Residual {
 public:
  BasicBlock(const ResNetSpec& spec, int64_t in, int64_t planes, int64_t stride);
  torch::Tensor forward(torch::Tensor input);

 private:
  torch::nn::Conv2d conv1_{nullptr}, conv2_{nullptr};
  torch::nn::BatchNorm2d bn1_{nullptr}, bn2_{nullptr};
};

/// 1x1 down, 3x3 (grouped in ResNeXt), 1x1 up.
class Bottleneck : public Residual {
 public:
  Bottleneck(const ResNetSpec& spec, int64_t in, int64_t planes, int64_t stride);
  torch::Tensor forward(torch::Tensor input);

 private:
  torch::nn::Conv2d conv1_{nullptr}, conv2_{nullptr}, conv3_{nullptr};
  torch::nn::BatchNorm2d bn1_{nullptr}, bn2_{nullptr}, bn3_{nullptr};
};

}  // namespace sparsify::models
