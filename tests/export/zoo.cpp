// SPDX-License-Identifier: Apache-2.0
// The zoo's networks as they are: what becomes of every layer.
#include <catch2/catch_test_macros.hpp>

#include "sparsify/detection/ultralytics.hpp"
#include "sparsify/onnx/check.hpp"
#include "sparsify/onnx/lint.hpp"
#include "sparsify/trainers/model.hpp"
#include "trained.hpp"

using namespace sparsify;
using namespace sparsify::onnx;
using namespace sparsify::onnx::testing;

namespace {

/// Random weights, ranges found on noise: enough for the file to be what training gives.
ExportReport export_calibrated(const std::string& name, Target target, const std::filesystem::path& path) {
  torch::manual_seed(1);
  const auto side = model_info(name).image_size == 32 ? 32 : 64;
  const auto images = torch::randn({4, 3, side, side});
  Calibrated<std::shared_ptr<Model>> calibrated(build_model(name, {.num_classes = 10}), target, images);
  const auto quantization = calibrated.quantization();
  ExportOptions options;
  options.target = target;
  return export_model(*calibrated.net, images, options, path, &quantization);
}

using Counts = std::map<std::string, std::int64_t>;

void check_integer_layers(const std::string& name, const Counts& islands) {
  INFO(name);
  const Folder folder;
  const auto report = export_calibrated(name, Target::kCpu, folder / "cpu.onnx");
  check_model(folder / "cpu.onnx");
  CHECK(report.quantized_layers == report.layers);
  const auto fusion = integer_layers(folder / "cpu.onnx");
  CHECK(sorted(fusion.integer_layers) == sorted(report.quantized));
  CHECK(fusion.float_layers.empty());
  CHECK(fusion.float_islands == islands);
}

void check_gpu_rules(const std::string& name) {
  INFO(name);
  const Folder folder;
  const auto report = export_calibrated(name, Target::kGpu, folder / "gpu.onnx");
  check_model(folder / "gpu.onnx");
  CHECK(report.quantized_layers == report.layers);
  for (const auto& finding : lint_gpu(folder / "gpu.onnx").findings)
    FAIL_CHECK(finding.rule << " " << finding.node << " " << finding.message);
}

void check_network(const std::string& name, const Counts& islands = {}) {
  check_integer_layers(name, islands);
  check_gpu_rules(name);
}

// The convolutions that give a detector's maps stay in floating point, and nothing else.
void check_detector(const std::string& name) {
  INFO(name);
  const auto images = torch::rand({2, 3, 64, 64});
  for (const auto target : {Target::kCpu, Target::kGpu}) {
    torch::manual_seed(1);
    const Folder folder;
    const auto file = folder / "detector.onnx";
    Calibrated<std::shared_ptr<detection::Detector>> calibrated(detection::build_ultralytics(name), target,
                                                                images);
    const auto quantization = calibrated.quantization();
    ExportOptions options;
    options.target = target;
    const auto report = export_model(*calibrated.net, images, options, file, &quantization);
    check_model(file);
    const auto heads = static_cast<std::int64_t>(calibrated.net->heads().size());
    CHECK(report.quantized_layers == report.layers - heads);
    for (const auto& layer : report.unquantized) CHECK(layer.rule == "float-output");
    if (target == Target::kGpu) {
      for (const auto& finding : lint_gpu(file).findings)
        FAIL_CHECK(finding.rule << " " << finding.node << " " << finding.message);
      continue;
    }
    const auto fusion = integer_layers(file);
    CHECK(sorted(fusion.integer_layers) == sorted(report.quantized));
    CHECK(static_cast<std::int64_t>(fusion.float_layers.size()) == heads);
  }
}

}  // namespace

TEST_CASE("small networks of the zoo: every layer is an integer kernel, and keeps TensorRT's rules") {
  check_network("resnet20", {{"Pad", 2}});  // of the shortcuts that widen with zeros
  for (const auto* name : {"resnet8_cifar", "resnet10_cifar", "resnext14_4x16d", "resnet18"})
    check_network(name);
}

TEST_CASE("large networks of the zoo: every layer is an integer kernel, and keeps TensorRT's rules",
          "[long]") {
  for (const auto* name : {"resnet50", "resnext50_32x4d"}) check_network(name);
}

TEST_CASE("YOLOv3-tiny: every layer but those that give its maps is an integer kernel") {
  check_detector("yolov3-tiny");
}

TEST_CASE("YOLOv3 and YOLOv3-SPP: every layer but those that give their maps is an integer kernel",
          "[long]") {
  for (const auto* name : {"yolov3", "yolov3-spp"}) check_detector(name);
}
