// SPDX-License-Identifier: Apache-2.0
#include "models/resnet_blocks.hpp"

namespace sparsify::models {

torch::nn::Conv2d convolution(int64_t in, int64_t out, int64_t kernel, int64_t stride, int64_t groups) {
  auto options = torch::nn::Conv2dOptions(in, out, kernel).stride(stride).padding(kernel / 2);
  return torch::nn::Conv2d(options.groups(groups).bias(false));
}

Residual::Residual(Shortcut shortcut, int64_t in, int64_t out, int64_t stride)
    : kind_(shortcut), in_(in), out_(out), stride_(stride) {}

void Residual::register_shortcut() {
  const bool identity = in_ == out_ && stride_ == 1;
  if (identity || kind_ != Shortcut::kProjection) return;
  downsample_ = torch::nn::Sequential(convolution(in_, out_, 1, stride_), torch::nn::BatchNorm2d(out_));
  register_module("downsample", downsample_);
}

torch::Tensor Residual::shortcut(const torch::Tensor& input) {
  if (downsample_) return downsample_->forward(input);
  auto result = input;
  if (stride_ > 1) {
    result = result.slice(2, 0, c10::nullopt, stride_).slice(3, 0, c10::nullopt, stride_);
  }
  const int64_t missing = out_ - in_;
  if (missing == 0) return result;
  return torch::constant_pad_nd(result, {0, 0, 0, 0, missing / 2, missing - missing / 2});
}

BasicBlock::BasicBlock(const ResNetSpec& spec, int64_t in, int64_t planes, int64_t stride)
    : Residual(spec.shortcut, in, planes, stride) {
  conv1_ = register_module("conv1", convolution(in, planes, 3, stride));
  bn1_ = register_module("bn1", torch::nn::BatchNorm2d(planes));
  conv2_ = register_module("conv2", convolution(planes, planes, 3));
  bn2_ = register_module("bn2", torch::nn::BatchNorm2d(planes));
  register_shortcut();
}

torch::Tensor BasicBlock::forward(torch::Tensor input) {
  auto out = bn1_(conv1_(input)).relu_();
  out = bn2_(conv2_(out));
  return torch::add(out, shortcut(input)).relu_();
}

Bottleneck::Bottleneck(const ResNetSpec& spec, int64_t in, int64_t planes, int64_t stride)
    : Residual(spec.shortcut, in, planes * spec.expansion, stride) {
  const int64_t width = planes * spec.width_per_group / 64 * spec.groups;
  const int64_t out = planes * spec.expansion;
  conv1_ = register_module("conv1", convolution(in, width, 1));
  bn1_ = register_module("bn1", torch::nn::BatchNorm2d(width));
  conv2_ = register_module("conv2", convolution(width, width, 3, stride, spec.groups));
  bn2_ = register_module("bn2", torch::nn::BatchNorm2d(width));
  conv3_ = register_module("conv3", convolution(width, out, 1));
  bn3_ = register_module("bn3", torch::nn::BatchNorm2d(out));
  register_shortcut();
}

torch::Tensor Bottleneck::forward(torch::Tensor input) {
  auto out = bn1_(conv1_(input)).relu_();
  out = bn2_(conv2_(out)).relu_();
  out = bn3_(conv3_(out));
  return torch::add(out, shortcut(input)).relu_();
}

}  // namespace sparsify::models
