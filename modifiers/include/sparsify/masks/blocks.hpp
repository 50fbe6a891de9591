// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "sparsify/masks/apply.hpp"

namespace sparsify {

/// A block of a weight [out, in, taps...]: so many output channels by so many input channels, -1 for all; of
/// one kernel tap, or of all. Blocks at the edges are smaller where they do not divide.
struct BlockShape {
  std::int64_t out = 1;
  std::int64_t in = 1;
  bool all_taps = false;
};

namespace detail {

/// How a weight falls into blocks.
struct BlockGrid {
  std::int64_t out, in, taps;                    // of the weight
  std::int64_t block_out, block_in, block_taps;  // of a block
  std::int64_t rows, columns, layers;            // blocks along each

  BlockGrid(const at::Tensor& weight, BlockShape shape)
      : out(weight.size(0)), in(weight.dim() > 1 ? weight.size(1) : 1) {
    taps = out * in == 0 ? 1 : weight.numel() / (out * in);
    block_out = shape.out < 0 ? std::max<std::int64_t>(out, 1) : shape.out;
    block_in = shape.in < 0 ? std::max<std::int64_t>(in, 1) : shape.in;
    block_taps = shape.all_taps ? taps : 1;
    rows = (out + block_out - 1) / block_out;
    columns = (in + block_in - 1) / block_in;
    layers = taps / block_taps;
  }
  /// Visits every element of a contiguous weight, block row by block row, all at once.
  template <class Visit>
  void each(const Visit& visit) const {
#pragma omp parallel for schedule(static) if (out * in * taps > 1 << 15)
    for (std::int64_t row = 0; row < rows; ++row)
      for (std::int64_t o = row * block_out; o < std::min(out, (row + 1) * block_out); ++o)
        for (std::int64_t i = 0; i < in; ++i) {
          const std::int64_t first = (o * in + i) * taps, unit = (row * columns + i / block_in) * layers;
          for (std::int64_t t = 0; t < taps; ++t) visit(first + t, unit + (layers == 1 ? 0 : t));
        }
  }
  std::int64_t elements_of(std::int64_t row, std::int64_t column) const {
    return std::min(block_out, out - row * block_out) * std::min(block_in, in - column * block_in) *
           block_taps;
  }
};

}  // namespace detail

/// The mean score of every block; of magnitudes, or with `keep_sign` of the values. float32 [rows, columns,
/// layers].
inline at::Tensor block_scores(const at::Tensor& scores, BlockShape shape, bool keep_sign = false) {
  at::NoGradGuard no_grad;
  const auto values = scores.detach().to(at::kCPU, at::kFloat).contiguous();
  const detail::BlockGrid grid(values, shape);
  auto means = at::empty({grid.rows, grid.columns, grid.layers}, values.options()).zero_();
  const auto* in = values.const_data_ptr<float>();
  auto* sums = means.mutable_data_ptr<float>();
  grid.each([&](std::int64_t element, std::int64_t unit) {
    sums[unit] += keep_sign ? in[element] : std::fabs(in[element]);
  });
  for (std::int64_t row = 0, unit = 0; row < grid.rows; ++row)
    for (std::int64_t column = 0; column < grid.columns; ++column)
      for (std::int64_t layer = 0; layer < grid.layers; ++layer, ++unit)
        sums[unit] /= static_cast<float>(grid.elements_of(row, column));
  return means;
}

/// The mask of a weight whose blocks are kept as `kept` says, bool of the shape of its block_scores.
inline at::Tensor mask_of_blocks(const at::Tensor& kept, const at::Tensor& weight, BlockShape shape) {
  at::NoGradGuard no_grad;
  const detail::BlockGrid grid(weight, shape);
  const auto units = kept.cpu().contiguous();
  auto mask = at::empty(weight.sizes(), at::TensorOptions().dtype(at::kBool));
  const auto* in = units.const_data_ptr<bool>();
  auto* out = mask.mutable_data_ptr<bool>();
  grid.each([&](std::int64_t element, std::int64_t unit) { out[element] = in[unit]; });
  return placed_like(weight, mask);
}

}  // namespace sparsify
