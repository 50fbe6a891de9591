// SPDX-License-Identifier: Apache-2.0
#include <torch/torch.h>

#include "bench.hpp"
#include "sparsify/modifiers/constant_pruning.hpp"
#include "sparsify/modifiers/magnitude_pruning.hpp"
#include "training.hpp"

namespace sparsify::bench {
namespace {

constexpr int64_t kPairs = 9;

struct ResNet50 : Training {
  ResNet50(const std::string& precision_name, bool channels_last, const Recipe& recipe = {})
      : Training(build_model("resnet50"), {8, 224, 1000}, precision_name, channels_last, recipe) {}
};

const std::string kWhat = "ResNet-50, 224 px, batch 8: one training step ";

Record prune() {
  // pruned_quant.yaml updates masks every half epoch; an epoch of ImageNet at this batch has 160,000 steps,
  // one of the generated set about 80. A window of 200 steps with updates every 40 is denser than either.
  GradualPruningOptions options;
  options.window = {0, 0.2}, options.update_frequency = 0.04, options.final_sparsity = 0.85;
  Recipe recipe;
  recipe.add<MagnitudePruning>(options);
  ResNet50 dense("auto", true), pruned("auto", true, recipe);
  auto record = compare(
      "step/prune", kWhat + "with masks in force and an update every 40 steps, against dense", kPairs,
      [&] { pruned.step(); }, [&] { dense.step(); },
      [&] {
        std::vector<std::vector<torch::Tensor>> layers;
        std::vector<int64_t> half;
        for (const auto& parameter : pruned.session->state().parameters)
          if (parameter.prunable())
            layers.push_back({parameter.tensor}), half.push_back(parameter.tensor.numel() / 2);
        return milliseconds([&] { smallest_magnitude_masks(layers, half); }) / 40;
      });
  record.precision = to_string(dense.precision);
  return record;
}

Record precision_and_layout() {
  ResNet50 best("auto", true), plain("fp32", false);
  auto record = compare(
      "step/default", kWhat + "in the trainers' default precision and layout, against NCHW fp32", kPairs,
      [&] { best.step(); }, [&] { plain.step(); });
  record.precision = to_string(best.precision) + " channels_last";
  return record;
}

// The step of the optimizer alone, gradients given.
Record optimizer_step() {
  Recipe recipe;
  recipe.add<ConstantPruning>();
  ResNet50 ours("fp32", true, recipe), theirs("fp32", true);
  for (auto* training : {&ours, &theirs}) {
    const torch::NoGradGuard no_grad;
    for (auto& parameter : training->model->parameters()) {
      if (parameter.dim() >= 2) parameter.masked_fill_(torch::rand_like(parameter) < 0.85, 0);
      parameter.mutable_grad() = torch::randn_like(parameter) * 1e-3;
    }
  }
  return compare(
      "step/optimizer",
      "ResNet-50, 85 % zeros: SGD with masks in one pass, against LibTorch's SGD without masks", kPairs,
      [&] { ours.session->begin_step().optimize(); }, [&] { theirs.optimizer->step(); });
}

}  // namespace

std::vector<Comparison> training_step_comparisons() {
  return {{"step/prune", prune}, {"step/optimizer", optimizer_step}, {"step/default", precision_and_layout}};
}

}  // namespace sparsify::bench
