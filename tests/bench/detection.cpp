// SPDX-License-Identifier: Apache-2.0
#include <torch/torch.h>

#include "bench.hpp"
#include "sparsify/error.hpp"
#include "sparsify/load_recipe.hpp"
#include "sparsify/modifiers/quantization.hpp"
#include "yolov3_training.hpp"

namespace sparsify::bench {
namespace {

constexpr int kDetectorPairs = 7;

const std::string kYoloStep = "YOLOv3 and its loss, 416 px, batch 4: one training step ";
const std::string kAgainstPlain = ", against LibTorch's in NCHW fp32";

Setup plain_libtorch() { return {.precision = "fp32", .channels_last = false, .step_in_one_pass = false}; }

Record detector_precision_and_layout() {
  YoloV3 best, plain(plain_libtorch());
  auto record = compare(
      "step/yolov3",
      kYoloStep + "in the trainers' default precision and layout" + kAgainstPlain +
          " (target: 0.25 with AMX)",
      kDetectorPairs, [&] { best.step(); }, [&] { plain.step(); });
  record.precision = to_string(best.precision) + " channels_last";
  return record;
}

// The recipe for trained detectors where it costs most: all masks in force, ranges still observed. With one
// step an epoch, pruning is over after the first step, the second one rounds, and ranges move until the 48th.
Setup pruned_and_quantized() {
  return {.recipe = load_recipe("yolov3_pruned_quant", {{"pruning_end", "1"}, {"quantization_start", "1"}}),
          .steps_per_epoch = 1};
}

void check_active(const Session& session) {
  const auto* quantization = session.find<Quantization>();
  if (session.masks().empty() || !quantization || !quantization->active())
    throw Error("step/yolov3-qat: the recipe neither prunes nor quantizes yet");
}

Record pruning_and_quantization() {
  YoloV3 sparse(pruned_and_quantized()), plain(plain_libtorch());
  sparse.step();  // records the graph and prunes
  sparse.step();
  check_active(*sparse.session);
  auto record = compare(
      "step/yolov3-qat",
      kYoloStep + "with masks and fake-quantization as in yolov3_pruned_quant.yaml" + kAgainstPlain +
          " (target: 0.33 with AMX)",
      kDetectorPairs, [&] { sparse.step(); }, [&] { plain.step(); });
  record.precision = to_string(sparse.precision) + " channels_last";
  return record;
}

}  // namespace

std::vector<Comparison> detection_comparisons() {
  return {{"step/yolov3", detector_precision_and_layout}, {"step/yolov3-qat", pruning_and_quantization}};
}

}  // namespace sparsify::bench
