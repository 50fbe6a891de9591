// SPDX-License-Identifier: Apache-2.0
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <onnxruntime_cxx_api.h>
#include <onnxruntime_session_options_config_keys.h>

#include "runtime/environment.hpp"
#include "sparsify/error.hpp"
#include "sparsify/onnx/runtime.hpp"

namespace sparsify::onnx {
namespace {

ONNXTensorElementDataType to_element_type(at::ScalarType type) {
  switch (type) {
    case at::kFloat:
      return ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
    case at::kDouble:
      return ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE;
    case at::kHalf:
      return ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16;
    case at::kLong:
      return ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64;
    case at::kInt:
      return ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32;
    case at::kChar:
      return ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8;
    case at::kByte:
      return ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8;
    case at::kBool:
      return ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL;
    default:
      throw Error(std::string("ONNX Runtime takes no tensor of type ") + c10::toString(type));
  }
}

at::ScalarType from_element_type(ONNXTensorElementDataType type) {
  for (const auto candidate :
       {at::kFloat, at::kDouble, at::kHalf, at::kLong, at::kInt, at::kChar, at::kByte, at::kBool})
    if (to_element_type(candidate) == type) return candidate;
  throw Error("ONNX Runtime returned a tensor of type " + std::to_string(type) + ", which is not supported");
}

at::Tensor copy_out(Ort::Value& value) {
  const auto info = value.GetTensorTypeAndShapeInfo();
  return at::from_blob(value.GetTensorMutableRawData(), info.GetShape(),
                       at::TensorOptions().dtype(from_element_type(info.GetElementType())))
      .clone();
}

}  // namespace

EngineOptions comparison_options(Target target) {
  EngineOptions options;
  options.optimize = target == Target::kCpu;
  return options;
}

struct Engine::State {
  std::string path;
  Ort::Session session{nullptr};
  std::vector<std::string> inputs, outputs;
  std::vector<const char*> input_names, output_names;
  std::int64_t batch_size = -1;
};

Engine::Engine(const std::filesystem::path& path, const EngineOptions& options)
    : state_(std::make_unique<State>()) {
  state_->path = path.string();
  try {
    Ort::SessionOptions session;
    session.SetIntraOpNumThreads(options.threads > 0 ? options.threads : at::get_num_threads());
    session.SetGraphOptimizationLevel(options.optimize ? ORT_ENABLE_ALL : ORT_DISABLE_ALL);
    session.SetLogSeverityLevel(ORT_LOGGING_LEVEL_ERROR);
    if (options.exact_integers) session.AddConfigEntry(kOrtSessionOptionsAvx2PrecisionMode, "1");
    if (!options.optimized_model.empty()) session.SetOptimizedModelFilePath(options.optimized_model.c_str());
    state_->session = Ort::Session(environment(), path.c_str(), session);
    const Ort::AllocatorWithDefaultOptions allocator;
    for (std::size_t i = 0; i < state_->session.GetInputCount(); ++i)
      state_->inputs.push_back(state_->session.GetInputNameAllocated(i, allocator).get());
    for (std::size_t i = 0; i < state_->session.GetOutputCount(); ++i)
      state_->outputs.push_back(state_->session.GetOutputNameAllocated(i, allocator).get());
    const auto type = state_->session.GetInputTypeInfo(0);
    const auto shape = type.GetTensorTypeAndShapeInfo().GetShape();
    if (!shape.empty()) state_->batch_size = shape.front();
  } catch (const Ort::Exception& error) {
    throw Error(state_->path + ": ONNX Runtime cannot load it: " + error.what());
  }
  for (const auto& name : state_->inputs) state_->input_names.push_back(name.c_str());
  for (const auto& name : state_->outputs) state_->output_names.push_back(name.c_str());
}

Engine::Engine(Engine&&) noexcept = default;
Engine& Engine::operator=(Engine&&) noexcept = default;
Engine::~Engine() = default;

at::Tensor Engine::run(const at::Tensor& input) { return run(std::vector<at::Tensor>{input}).front(); }

std::vector<at::Tensor> Engine::run(const std::vector<at::Tensor>& inputs) {
  if (inputs.size() != state_->inputs.size())
    throw Error(state_->path + ": expected " + std::to_string(state_->inputs.size()) + " inputs, got " +
                std::to_string(inputs.size()));
  const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  std::vector<at::Tensor> dense;
  std::vector<Ort::Value> values;
  for (const auto& input : inputs) {
    dense.push_back(input.detach().to(at::kCPU).contiguous());
    const auto& tensor = dense.back();
    values.push_back(Ort::Value::CreateTensor(memory, tensor.data_ptr(), tensor.nbytes(),
                                              tensor.sizes().data(), tensor.sizes().size(),
                                              to_element_type(tensor.scalar_type())));
  }
  try {
    auto results =
        state_->session.Run(Ort::RunOptions{nullptr}, state_->input_names.data(), values.data(),
                            values.size(), state_->output_names.data(), state_->output_names.size());
    std::vector<at::Tensor> outputs;
    for (auto& result : results) outputs.push_back(copy_out(result));
    return outputs;
  } catch (const Ort::Exception& error) {
    throw Error(state_->path + ": ONNX Runtime failed: " + error.what());
  }
}

const std::vector<std::string>& Engine::input_names() const { return state_->inputs; }
const std::vector<std::string>& Engine::output_names() const { return state_->outputs; }
std::int64_t Engine::batch_size() const { return state_->batch_size; }
std::string Engine::version() { return Ort::GetVersionString(); }

bool default_integers_are_exact() {
#ifdef __x86_64__
  return __builtin_cpu_supports("avx512vnni") || __builtin_cpu_supports("avxvnni");
#else
  return true;
#endif
}

}  // namespace sparsify::onnx
