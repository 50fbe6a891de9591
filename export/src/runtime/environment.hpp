// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace Ort {
struct Env;
}

namespace sparsify::onnx {

/// The process's ONNX Runtime environment, made at the first call.
Ort::Env& environment();

/// Makes operator schemas available to the ONNX checker and shape inference, whichever library is used first.
void prepare_schemas();

}  // namespace sparsify::onnx
