// SPDX-License-Identifier: Apache-2.0
#include "detection/blocks.hpp"

namespace sparsify::detection {

namespace F = torch::nn::functional;

torch::Tensor activate(Activation activation, const torch::Tensor& x) {
  switch (activation) {
    case Activation::kLinear:
      return x;
    case Activation::kRelu:
      return torch::relu(x);
    case Activation::kLeaky:
      return torch::leaky_relu(x, 0.1);
    case Activation::kSilu:
      return torch::silu(x);
    case Activation::kMish:
      return torch::mish(x);
    case Activation::kLogistic:
      return torch::sigmoid(x);
  }
  return x;
}

ConvBlock::ConvBlock(const ConvOptions& options) : activation_(options.activation) {
  conv = register_module("conv",
                         torch::nn::Conv2d(torch::nn::Conv2dOptions(options.in, options.out, options.kernel)
                                               .stride(options.stride)
                                               .padding(options.padding)
                                               .groups(options.groups)
                                               .bias(!options.batch_norm)));
  if (options.batch_norm)
    bn = register_module(
        "bn",
        torch::nn::BatchNorm2d(
            torch::nn::BatchNorm2dOptions(options.out).eps(options.bn_eps).momentum(options.bn_momentum)));
}

Maps ConvBlock::forward(const Maps& inputs) {
  auto x = conv->forward(inputs.at(0));
  if (bn) x = bn->forward(x);
  return {activate(activation_, x)};
}

Maps MaxPoolBlock::forward(const Maps& inputs) {
  const auto before = (size_ - 1) / 2, after = size_ - 1 - before;
  if (before == after) return {torch::max_pool2d(inputs.at(0), size_, stride_, before)};
  if (size_ == 2 && stride_ == 2) return {torch::max_pool2d(inputs.at(0), 2, 2, 0, 1, /*ceil_mode=*/true)};
  // What is repeated from the edge is in the window already.
  const auto padded =
      F::pad(inputs.at(0), F::PadFuncOptions({before, after, before, after}).mode(torch::kReplicate));
  return {torch::max_pool2d(padded, size_, stride_)};
}

Maps UpsampleBlock::forward(const Maps& inputs) {
  return {F::interpolate(
      inputs.at(0),
      F::InterpolateFuncOptions().scale_factor(std::vector<double>{factor_, factor_}).mode(torch::kNearest))};
}

Maps SumBlock::forward(const Maps& inputs) {
  auto sum = inputs.at(0);
  for (std::size_t i = 1; i < inputs.size(); ++i) sum = sum + inputs[i];
  return {activate(activation_, sum)};
}

Maps RouteBlock::forward(const Maps& inputs) {
  Maps parts;
  for (const auto& input : inputs)
    parts.push_back(groups_ == 1 ? input : input.chunk(groups_, 1).at(static_cast<std::size_t>(group_)));
  return {parts.size() == 1 ? parts.front() : torch::cat(parts, 1)};
}

Maps DropoutBlock::forward(const Maps& inputs) {
  return {torch::dropout(inputs.at(0), probability_, is_training())};
}

}  // namespace sparsify::detection
