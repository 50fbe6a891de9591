// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "ir/model.hpp"
#include "sparsify/onnx/export_graph.hpp"

namespace sparsify::onnx {

/// The bytes of an .onnx file, with inferred shapes of all intermediate tensors.
std::string serialize(const Model& model, const ExportOptions& options);

}  // namespace sparsify::onnx
