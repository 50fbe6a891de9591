// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sparsify/onnx/tensor_parity.hpp"
#include "workflow/parity.hpp"
#include "workflow/data_source.hpp"
#include "workflow/saved_model.hpp"

namespace sparsify {

/// A quantized model in an engine beside the trained one: end to end, and tensor by tensor.
struct LayerParity {
  std::string engine;                       ///< "ONNX Runtime 1.21.0"
  std::string target;                       ///< "cpu" or "gpu"
  Parity whole;                             ///< over the whole validation set
  std::vector<onnx::TensorParity> tensors;  ///< all that are rounded, in the order of computation
  std::int64_t images = 0;                  ///< that these were compared on
  std::vector<std::string> warnings{};      ///< of the export
  std::vector<std::string> broken{};        ///< what must hold of the exported file and does not

  /// The first tensor with an integer that differs, null when there is none.
  const onnx::TensorParity* first_different() const;
};

/// Exports a model with trained quantizers to a temporary file, for the engines it was quantized for, and
/// runs that in ONNX Runtime: for cpu optimised, for gpu as it stands. Tensors are compared on the first
/// `images` of the validation set. Throws InputError when nothing is quantized.
LayerParity measure_layer_parity(const SavedModel& saved, const DataSource& data, std::int64_t batch_size,
                                 std::int64_t workers, std::int64_t images,
                                 const ImageProgress& progress = {});

}  // namespace sparsify
