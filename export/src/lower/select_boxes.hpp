// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ir/model.hpp"
#include "sparsify/onnx/export_graph.hpp"

namespace sparsify::onnx {

/// Puts non-maximum suppression behind a model's only output; see ExportOptions::non_max_suppression. Throws
/// Error when that output is not boxes.
void select_boxes(Model& model, const BoxSelection& selection);

}  // namespace sparsify::onnx
