// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "sparsify/onnx/export_graph.hpp"
#include "sparsify/onnx/parity.hpp"
#include "sparsify/onnx/runtime.hpp"

namespace sparsify::onnx {

/// How far a rounded tensor of an engine is from the trained model's, in steps of its quantizer.
struct TensorParity {
  std::string site;  ///< as in RoundedTensor
  std::int64_t elements = 0;
  std::int64_t different = 0;    ///< elements whose integers differ
  std::int64_t largest = 0;      ///< largest difference
  double signal = 0, noise = 0;  ///< sums of squares: of the trained model's, of the differences

  double share() const {
    return elements ? static_cast<double>(different) / static_cast<double>(elements) : 0;
  }
  /// Signal to noise in decibels; infinite when all are equal.
  double snr() const;
};

/// Rounded tensors by site, each in steps of its quantizer: integer minus zero point.
using Steps = std::map<std::string, at::Tensor>;
/// Computes them for a batch of inputs: one of the two sides, whatever engine it is.
using StepsOf = std::function<Steps(const at::Tensor& input)>;

/// Compares both sides on the same batches, tensor by tensor in the order of `rounded`. Throws Error when one
/// of these is missing or has another number of elements, or when there is no batch.
std::vector<TensorParity> compare_tensors(const std::vector<RoundedTensor>& rounded, const StepsOf& engine,
                                          const StepsOf& reference, const NextBatch& next);

/// Writes a copy of an .onnx file that gives tensors as further outputs, behind its own. Throws Error for one
/// that no QuantizeLinear makes.
void expose_tensors(const std::filesystem::path& model, const std::vector<RoundedTensor>& rounded,
                    const std::filesystem::path& copy);

/// ONNX Runtime as a side: runs such a copy of the file, with the kernels that run the file.
StepsOf steps_in_onnxruntime(const std::filesystem::path& model, const std::vector<RoundedTensor>& rounded,
                             const EngineOptions& options = {});

}  // namespace sparsify::onnx
