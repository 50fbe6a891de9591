// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cctype>
#include <set>

#include "ir/proto.hpp"
#include "sparsify/onnx/temporary_folder.hpp"
#include "sparsify/onnx/runtime.hpp"

namespace sparsify::onnx {
namespace {

const std::set<std::string> kFloat = {"Conv",      "FusedConv", "ConvTranspose", "Gemm",
                                      "FusedGemm", "MatMul",    "FusedMatMul"};
const std::set<std::string> kInteger = {"QLinearConv",   "QLinearConvTranspose", "QGemm",
                                        "QLinearMatMul", "MatMulIntegerToFloat", "ConvInteger",
                                        "MatMulInteger", "DynamicQuantizeMatMul"};

// Whether a name holds another as whole words.
bool holds(const std::string& name, const std::string& word) {
  const auto goes_on = [&](std::size_t i) {
    return i < name.size() && std::isalnum(static_cast<unsigned char>(name[i]));
  };
  for (auto at = name.find(word); at != std::string::npos; at = name.find(word, at + 1))
    if ((at == 0 || !goes_on(at - 1)) && !goes_on(at + word.size())) return true;
  return false;
}

// ONNX Runtime makes new names from those it replaces ("conv1_token_4"); the longest of ours inside is meant.
std::string original_name(const std::string& name, const std::vector<std::string>& layers) {
  std::string best;
  for (const auto& layer : layers)
    if (layer.size() > best.size() && holds(name, layer)) best = layer;
  return best.empty() ? name : best;
}

std::vector<std::string> layer_names(const pb::ModelProto& model) {
  std::vector<std::string> names;
  for (const auto& node : model.graph().node())
    if (kFloat.count(node.op_type()) || kInteger.count(node.op_type())) names.push_back(node.name());
  return names;
}

// Whether a node reads a computed tensor through a DequantizeLinear.
bool is_float_island(const pb::NodeProto& node, const GraphIndex& index) {
  return std::any_of(node.input().begin(), node.input().end(), [&](const std::string& input) {
    const auto* source = index.producer(input);
    return source && source->op_type() == "DequantizeLinear" && !index.initializer(source->input(0));
  });
}

}  // namespace

FusionReport integer_layers(const std::filesystem::path& path) {
  const TemporaryFolder folder;
  EngineOptions options;
  options.optimized_model = folder / "optimized.onnx";
  {
    const Engine engine(path, options);
  }
  const auto optimized = read_model(options.optimized_model);
  const auto layers = layer_names(read_model(path));
  const GraphIndex index(optimized.graph());
  FusionReport report;
  for (const auto& node : optimized.graph().node()) {
    ++report.operators[node.op_type()];
    if (is_float_island(node, index)) ++report.float_islands[node.op_type()];
    const bool integer = kInteger.count(node.op_type()) > 0;
    if (!integer && !kFloat.count(node.op_type())) continue;
    const auto layer = original_name(node.name(), layers);
    (integer ? report.integer_layers : report.float_layers).push_back(layer);
    report.kernels[layer] = node.op_type();
  }
  return report;
}

}  // namespace sparsify::onnx
