// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <optional>

namespace sparsify::onnx {

/// How far an engine's outputs are from those of the trained model.
struct ParityReport {
  std::int64_t samples = 0;
  double agreement = 0;        ///< share of equal decisions (the largest element along dimension 1), 0 to 1
  double max_difference = 0;   ///< largest absolute difference of an output element
  double mean_difference = 0;  ///< mean absolute difference
  std::optional<double> reference_accuracy, engine_accuracy;  ///< top-1, 0 to 1, when labels were given
};

/// How far an engine's outputs are from those of the trained model, over any number of them.
class OutputDifferences {
 public:
  /// Any device and type. Throws Error unless the shapes are equal.
  void add(const at::Tensor& engine, const at::Tensor& reference);
  double largest() const { return largest_; }  ///< absolute, of an element
  double mean() const;                         ///< of absolute differences of elements

 private:
  double largest_ = 0, sum_ = 0, elements_ = 0;
};

/// Gives the next batch; `labels` (int64, [N]) may stay undefined. Returns false when there are no more.
using NextBatch = std::function<bool(at::Tensor& input, at::Tensor& labels)>;
/// Computes the output for an input.
using Forward = std::function<at::Tensor(const at::Tensor& input)>;

/// Runs both on the same batches. Throws Error when the outputs' shapes differ or there is no batch.
ParityReport compare(const Forward& engine, const Forward& reference, const NextBatch& next);

}  // namespace sparsify::onnx
