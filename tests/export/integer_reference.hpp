// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <memory>

#include "sparsify/onnx/tensor_parity.hpp"

namespace sparsify::onnx::testing {

/// A plain interpreter of exported quantized files, which shares no code with the exporter. Sums of products
/// are exact integers (held in float64); what follows them is rounded as ONNX Runtime's kernels round: the
/// sum as float32 times one float32 factor, half to even. All else is float64.
class IntegerReference {
 public:
  /// Throws Error when the file holds an operator that it does not know.
  explicit IntegerReference(const std::filesystem::path& model);
  ~IntegerReference();

  /// The first output.
  at::Tensor run(const at::Tensor& input);
  /// The integers of rounded tensors, as a side of compare_tensors.
  Steps steps(const at::Tensor& input, const std::vector<RoundedTensor>& rounded);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace sparsify::onnx::testing
