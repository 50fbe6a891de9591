// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace sparsify::onnx {

/// A layer's weight as it stands in a file, looked at through its quantizers.
struct WeightFacts {
  std::string name;  ///< of the initializer
  std::string node;  ///< of the layer that reads it
  std::string op;    ///< "Conv", "Gemm", "MatMul", "ConvTranspose"
  std::string type;  ///< element type: "Float", "Char" (int8) ...
  std::vector<std::int64_t> shape;
  std::int64_t elements = 0;
  std::int64_t zeros = 0;
  bool two_four = false;  ///< at most two non-zeros in each aligned group of four along the input channels
  int bits = 0;           ///< that its integers use, at least 2; 0: not stored as integers
  std::string quantizer;  ///< "per-channel int8", "per-tensor uint8" or empty
  double sparsity() const {
    return elements ? static_cast<double>(zeros) / static_cast<double>(elements) : 0;
  }
};

struct ModelFacts {
  std::int64_t bytes = 0;
  int opset = 0;
  std::string producer;
  std::map<std::string, std::string> metadata;
  std::map<std::string, std::int64_t> operators;
  std::vector<WeightFacts> weights;
  std::int64_t elements = 0;               ///< of all initializers
  std::int64_t activation_quantizers = 0;  ///< QuantizeLinear nodes on computed tensors
  std::int64_t prunable = 0;               ///< elements of all layers' weights
  std::int64_t prunable_zeros = 0;
  double sparsity() const {
    return prunable ? static_cast<double>(prunable_zeros) / static_cast<double>(prunable) : 0;
  }
};

/// Reads an .onnx file. Throws Error when it is none.
ModelFacts inspect_model(const std::filesystem::path& path);

}  // namespace sparsify::onnx
