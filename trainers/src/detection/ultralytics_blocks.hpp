// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "detection/blocks.hpp"

namespace sparsify::detection {

/// Two convolutions, 1x1 to `hidden` channels and 3x3, "cv1" and "cv2", and the input added to what they
/// give.
class BottleneckBlock : public Block {
 public:
  BottleneckBlock(const ConvOptions& first, const ConvOptions& second, bool add_input);
  Maps forward(const Maps& inputs) override;

 private:
  std::shared_ptr<ConvBlock> cv1_, cv2_;
  bool add_input_;
};

/// A convolution, its output beside max-poolings of it, and a convolution of all these: "cv1", "cv2".
class SppBlock : public Block {
 public:
  /// `sizes`: odd.
  SppBlock(const ConvOptions& first, const ConvOptions& second, std::vector<std::int64_t> sizes);
  Maps forward(const Maps& inputs) override;

 private:
  std::shared_ptr<ConvBlock> cv1_, cv2_;
  std::vector<std::int64_t> sizes_;
};

/// Max-pooling as PyTorch's: the same padding on all sides.
class PaddedMaxPoolBlock : public Block {
 public:
  PaddedMaxPoolBlock(std::int64_t size, std::int64_t stride, std::int64_t padding)
      : size_(size), stride_(stride), padding_(padding) {}
  Maps forward(const Maps& inputs) override;

 private:
  std::int64_t size_, stride_, padding_;
};

/// Zeros around its input.
class ZeroPadBlock : public Block {
 public:
  /// Left, right, top, bottom.
  explicit ZeroPadBlock(const std::array<std::int64_t, 4>& sides) : sides_(sides) {}
  Maps forward(const Maps& inputs) override;

 private:
  std::array<std::int64_t, 4> sides_;
};

/// Blocks one after the other: "0", "1", ...
class ChainBlock : public Block {
 public:
  explicit ChainBlock(std::vector<std::shared_ptr<Block>> blocks);
  Maps forward(const Maps& inputs) override;

 private:
  std::vector<std::shared_ptr<Block>> blocks_;
};

}  // namespace sparsify::detection
