// SPDX-License-Identifier: Apache-2.0
#include "runtime/environment.hpp"

#include <onnx/defs/schema.h>
#include <onnxruntime_cxx_api.h>

namespace sparsify::onnx {
namespace {

// ONNX Runtime registers the schemas once more into a libonnx that it shares with us, and complains about
// each of them. So libonnx registers first, everything is taken out again, and what ONNX Runtime puts in then
// serves both.
Ort::Env* make_environment() {
  ::onnx::OpSchemaRegistry::Schema("Relu");
  for (const auto* domain : {"", "ai.onnx.ml", "ai.onnx.preview.training"})
    ::onnx::OpSchemaRegistry::OpSchemaDeregisterAll(domain);
  return new Ort::Env(ORT_LOGGING_LEVEL_ERROR, "sparsify");
}

}  // namespace

Ort::Env& environment() {
  static Ort::Env* const shared = make_environment();  // never destroyed: sessions may outlive static objects
  return *shared;
}

void prepare_schemas() { environment(); }

}  // namespace sparsify::onnx
