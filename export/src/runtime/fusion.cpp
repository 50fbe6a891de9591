// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <set>

#include "ir/proto.hpp"
#include "sparsify/onnx/runtime.hpp"

namespace sparsify::onnx {
namespace {

const std::set<std::string> kFloat = {"Conv",      "FusedConv", "ConvTranspose", "Gemm",
                                      "FusedGemm", "MatMul",    "FusedMatMul"};
const std::set<std::string> kInteger = {"QLinearConv",   "QLinearConvTranspose", "QGemm",
                                        "QLinearMatMul", "MatMulIntegerToFloat", "ConvInteger",
                                        "MatMulInteger", "DynamicQuantizeMatMul"};

// A folder of one's own, removed with everything in it.
struct TemporaryFolder {
  std::filesystem::path path;
  TemporaryFolder() {
    auto name = (std::filesystem::temp_directory_path() / "sparsify-XXXXXX").string();
    if (!::mkdtemp(name.data()))
      throw std::filesystem::filesystem_error("mkdtemp", name,
                                              std::error_code(errno, std::generic_category()));
    path = name;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
};

// ONNX Runtime makes new names from those it replaces ("conv1_token_4"); the longest of ours inside is meant.
std::string original_name(const std::string& name, const std::vector<std::string>& layers) {
  std::string best;
  for (const auto& layer : layers)
    if (layer.size() > best.size() && name.find(layer) != std::string::npos) best = layer;
  return best.empty() ? name : best;
}

std::vector<std::string> layer_names(const pb::ModelProto& model) {
  std::vector<std::string> names;
  for (const auto& node : model.graph().node())
    if (kFloat.count(node.op_type()) || kInteger.count(node.op_type())) names.push_back(node.name());
  return names;
}

}  // namespace

FusionReport integer_layers(const std::filesystem::path& path) {
  const TemporaryFolder folder;
  EngineOptions options;
  options.optimized_model = folder.path / "optimized.onnx";
  {
    const Engine engine(path, options);
  }
  const auto optimized = read_model(options.optimized_model);
  const auto layers = layer_names(read_model(path));
  FusionReport report;
  for (const auto& node : optimized.graph().node()) {
    ++report.operators[node.op_type()];
    if (kFloat.count(node.op_type())) report.float_layers.push_back(original_name(node.name(), layers));
    if (kInteger.count(node.op_type())) report.integer_layers.push_back(original_name(node.name(), layers));
  }
  return report;
}

}  // namespace sparsify::onnx
