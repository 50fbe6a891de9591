// SPDX-License-Identifier: Apache-2.0
#include "patterns.hpp"

#include <catch2/catch_test_macros.hpp>

#include "sparsify/onnx/check.hpp"
#include "sparsify/onnx/lint.hpp"
#include "trained.hpp"

namespace sparsify::onnx::testing {
namespace {

Quantization::Options options_of(const Pattern& pattern, Target target) {
  Quantization::Options options;
  options.scheme = name(target);
  options.ignore = pattern.ignore;
  return options;
}

struct Exported {
  Trained<Built> trained;
  ExportReport report;

  Exported(const Pattern& pattern, Target target, const std::filesystem::path& path)
      : trained(options_of(pattern, target), 8, Built(pattern.forward)) {
    ExportOptions options;
    options.target = target;
    const auto quantization = trained.quantization();
    report = export_model(*trained.net, torch::randn({2, 3, 16, 16}), options, path, &quantization);
    check_model(path);
  }

  std::set<std::string> floats() const {
    std::set<std::string> sites;
    for (const auto& left : report.unquantized) sites.insert(left.site);
    return sites;
  }
};

void check_parity(Exported& exported, const EngineOptions& how, double differing) {
  const auto images = stripes(64).first;
  for (const auto& tensor : exported.trained.compare_tensors(exported.report, how, images)) {
    INFO(tensor.site << ": " << 100 * tensor.share() << " % differ, by " << tensor.largest);
    CHECK(tensor.share() <= differing);
    CHECK(tensor.largest <= 6);  // one step more before a sigmoid or tanh is several behind it
  }
  const auto expected = exported.trained.evaluate(images);
  const auto actual = Engine(exported.report.path, how).run(images);
  const auto spread = expected.std().item<double>();
  INFO("logits: " << largest_difference(actual, expected) << " of " << spread);
  CHECK(largest_difference(actual, expected) < 0.05 * spread);
}

}  // namespace

void check_on_cpu(const std::vector<Pattern>& patterns) {
  for (const auto& pattern : patterns) {
    INFO(pattern.name);
    torch::manual_seed(3);
    const Folder folder;
    Exported exported(pattern, Target::kCpu, folder / "model.onnx");
    CHECK(exported.floats() == pattern.floats);
    const auto fusion = integer_layers(folder / "model.onnx");
    for (const auto& [op, count] : fusion.operators) UNSCOPED_INFO(op << " " << count);
    CHECK(sorted(fusion.integer_layers) == sorted(exported.report.quantized));
    CHECK(fusion.float_islands == pattern.islands);
    for (const auto& kernel : pattern.kernels) {
      INFO(kernel);
      CHECK(fusion.operators.count(kernel) == 1);
    }
    check_parity(exported, {}, pattern.differing);
  }
}

void check_on_gpu(const std::vector<Pattern>& patterns) {
  for (const auto& pattern : patterns) {
    INFO(pattern.name);
    torch::manual_seed(3);
    const Folder folder;
    Exported exported(pattern, Target::kGpu, folder / "model.onnx");
    auto floats = pattern.floats;
    floats.insert(pattern.gpu_floats.begin(), pattern.gpu_floats.end());
    CHECK(exported.floats() == floats);
    for (const auto& finding : lint_gpu(folder / "model.onnx").findings)
      FAIL_CHECK(finding.rule << " " << finding.node << " " << finding.message);
    check_parity(exported, comparison_options(Target::kGpu), pattern.differing);
  }
}

}  // namespace sparsify::onnx::testing
