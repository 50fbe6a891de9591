// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "sparsify/quantization/plan.hpp"
#include "workflow/saved_model.hpp"

namespace sparsify {

/// What a plan decided about one convolution or linear layer, and what the engine it is for makes of it.
struct LayerArithmetic {
  std::string site;
  bool integer = false;
  int bits = 8;             ///< of the weight
  UnquantizedLayer left{};  ///< the rule that leaves it in floating point otherwise
  int input = -1;           ///< index of the quantizer that rounds its input, -1: none
  int output = -1;          ///< of the one that rounds its (normalised, activated) output
  std::string engine{};     ///< "QLinearConv" in ONNX Runtime, or what TensorRT is asked for
};

/// One quantizer of activations.
struct ActivationFacts {
  std::string site;
  double scale = 0;
  int zero_point = 0;
  double lowest = 0, highest = 0;      ///< real values that it can tell apart
  std::vector<std::string> shared{};   ///< other tensors rounded to the same grid
  std::vector<std::string> carried{};  ///< tensors that lie on it without rounding
};

struct QuantizationFacts {
  std::string title;
  std::string scheme;
  std::vector<LayerArithmetic> layers;  ///< integer ones, then the others, each in the order of computation
  std::vector<ActivationFacts> quantizers;
};

/// Exports to a temporary file and asks ONNX Runtime for its kernels when the model is for CPUs. Throws
/// InputError when quantization has not begun, or the recipe has none.
QuantizationFacts quantization_facts(const SavedModel& saved);

/// Two tables: layers, and the quantizers that they refer to by number.
std::string quantization_text(const QuantizationFacts& facts);
nlohmann::json quantization_json(const QuantizationFacts& facts);

}  // namespace sparsify
