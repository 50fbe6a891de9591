// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace sparsify::onnx {

/// A place where a file breaks a rule of an engine family.
struct Finding {
  std::string rule;  ///< short name: "unsigned", "zero-point", "int32-bias", "weight-axis", "scale" ...
  std::string node;
  std::string message;  ///< what was found and what was expected
};

/// Whether one layer's weight can use 2:4 sparse kernels.
struct TwoFourLayer {
  std::string node;
  std::string weight;
  bool valid = false;
  std::string reason;  ///< why not: of its weight, or for a quantized layer of its output; empty when valid
};

struct GpuLint {
  std::vector<Finding> findings;  ///< rules broken; empty: fit for TensorRT as far as its rules are known
  std::vector<TwoFourLayer> two_four;  ///< every Conv and Gemm with constant weights
};

/// Checks TensorRT's intake rules for explicitly quantized models (developer guides 8.5 to 11): signed 8-bit
/// quantizers with zero point 0 and positive constant scales, weights per output channel, float biases, no
/// QLinear operators, every input of a quantized layer behind a quantizer, one side of a residual sum and not
/// both, one scale for all inputs of a concatenation, opset 13 to 17. Throws Error when the file is no ONNX
/// model.
GpuLint lint_gpu(const std::filesystem::path& path);

}  // namespace sparsify::onnx
