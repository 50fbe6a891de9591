// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "sparsify/detection/detector.hpp"

namespace sparsify::detection {

enum class Activation { kLinear, kRelu, kLeaky, kSilu, kMish, kLogistic };

torch::Tensor activate(Activation activation, const torch::Tensor& x);

struct ConvOptions {
  std::int64_t in = 3, out = 1, kernel = 1, stride = 1, padding = 0, groups = 1;
  bool batch_norm = true;
  double bn_eps = 1e-5, bn_momentum = 0.1;
  Activation activation = Activation::kLinear;
};

/// Convolution, batch-norm or bias, activation: "conv" and "bn".
class ConvBlock : public Block {
 public:
  explicit ConvBlock(const ConvOptions& options);
  Maps forward(const Maps& inputs) override;

  torch::nn::Conv2d conv{nullptr};
  torch::nn::BatchNorm2d bn{nullptr};  ///< empty: the convolution has a bias

 private:
  Activation activation_;
};

/// Max-pooling as darknet pads: `size - 1` elements in all, the larger half at the end, that never win.
class MaxPoolBlock : public Block {
 public:
  MaxPoolBlock(std::int64_t size, std::int64_t stride) : size_(size), stride_(stride) {}
  Maps forward(const Maps& inputs) override;

 private:
  std::int64_t size_, stride_;
};

/// Every element repeated `factor` times in both directions.
class UpsampleBlock : public Block {
 public:
  explicit UpsampleBlock(std::int64_t factor) : factor_(static_cast<double>(factor)) {}
  Maps forward(const Maps& inputs) override;

 private:
  double factor_;
};

/// The sum of its inputs, which have one shape.
class SumBlock : public Block {
 public:
  explicit SumBlock(Activation activation) : activation_(activation) {}
  Maps forward(const Maps& inputs) override;

 private:
  Activation activation_;
};

/// Its inputs one after the other along channels, or one of `groups` equal parts of each.
class RouteBlock : public Block {
 public:
  RouteBlock(std::int64_t groups, std::int64_t group) : groups_(groups), group_(group) {}
  Maps forward(const Maps& inputs) override;

 private:
  std::int64_t groups_, group_;
};

class DropoutBlock : public Block {
 public:
  explicit DropoutBlock(double probability) : probability_(probability) {}
  Maps forward(const Maps& inputs) override;

 private:
  double probability_;
};

}  // namespace sparsify::detection
