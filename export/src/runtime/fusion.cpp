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

}  // namespace

FusionReport integer_layers(const std::filesystem::path& path) {
  const TemporaryFolder folder;
  EngineOptions options;
  options.optimized_model = folder.path / "optimized.onnx";
  {
    const Engine engine(path, options);
  }
  const auto optimized = read_model(options.optimized_model);
  FusionReport report;
  for (const auto& node : optimized.graph().node()) {
    ++report.operators[node.op_type()];
    if (kFloat.count(node.op_type())) report.float_layers.push_back(node.name());
    if (kInteger.count(node.op_type())) report.integer_layers.push_back(node.name());
  }
  return report;
}

}  // namespace sparsify::onnx
