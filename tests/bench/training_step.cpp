// SPDX-License-Identifier: Apache-2.0
#include <torch/torch.h>

#include "bench.hpp"
#include "sparsify/masks/magnitude_masks.hpp"
#include "sparsify/modifiers/constant_pruning.hpp"
#include "sparsify/modifiers/global_magnitude_pruning.hpp"
#include "training.hpp"

namespace sparsify::bench {
namespace {

constexpr int64_t kStepPairs = 9;

const std::string kWhat = "ResNet-50, 224 px, batch 8: one training step ";

// As recipes/pruned_quant.yaml prunes, on the data it names: 94 steps of 128 images are an epoch there, and
// masks change every tenth of one. An epoch of ImageNet at this batch has 160,000 steps, and updates cost
// nothing.
constexpr int64_t kStepsPerEpoch = 94;
constexpr double kUpdateFrequency = 0.1;

Recipe pruning_of_pruned_quant() {
  GradualPruningOptions options;
  options.window = {0, 3}, options.update_frequency = kUpdateFrequency, options.init_sparsity = 0.3,
  options.final_sparsity = 0.88, options.exclude = {"elements<50000", "__LAST__"};
  Recipe recipe;
  recipe.add<GlobalMagnitudePruning>(options);
  return recipe;
}

// New masks for all weights that have one.
void update_masks(const Session& session) {
  Parameters pruned;
  for (const auto& parameter : session.state().parameters)
    if (session.masks().find(parameter.name).defined()) pruned.push_back(parameter);
  const auto masks = magnitude_masks(pruned, 0.5, /*global=*/true);
  Masks in_force;
  for (size_t i = 0; i < pruned.size(); ++i) in_force.set(pruned[i], masks[i]);
}

Record prune() {
  ResNet50 dense, pruned({.recipe = pruning_of_pruned_quant(), .steps_per_epoch = kStepsPerEpoch});
  auto record = compare(
      "step/prune",
      kWhat + "pruned globally as in pruned_quant.yaml, an update every 9.4 steps, against dense", kStepPairs,
      [&] { pruned.step(); }, [&] { dense.step(); },
      [&] {
        return milliseconds([&] { update_masks(*pruned.session); }) / (kUpdateFrequency * kStepsPerEpoch);
      });
  record.precision = to_string(dense.precision);
  return record;
}

Record precision_and_layout() {
  ResNet50 best, plain({.precision = "fp32", .channels_last = false});
  auto record = compare(
      "step/default", kWhat + "in the trainers' default precision and layout, against NCHW fp32", kStepPairs,
      [&] { best.step(); }, [&] { plain.step(); });
  record.precision = to_string(best.precision) + " channels_last";
  return record;
}

using MakeOptimizer =
    std::function<std::unique_ptr<torch::optim::Optimizer>(const std::vector<torch::Tensor>& parameters)>;

// ResNet-50 with 85 % zeros and gradients, and an optimizer.
struct Stepped {
  explicit Stepped(const MakeOptimizer& make) : model(build_model("resnet50")) {
    use_channels_last(*model);
    const torch::NoGradGuard no_grad;
    for (auto& parameter : model->parameters()) {
      if (parameter.dim() >= 2) parameter.masked_fill_(torch::rand_like(parameter) < 0.85, 0);
      parameter.mutable_grad() = torch::randn_like(parameter) * 1e-3;
    }
    optimizer = make(model->parameters());
  }
  std::shared_ptr<Model> model;
  std::unique_ptr<torch::optim::Optimizer> optimizer;
};

// The step of the optimizer alone.
Record optimizer_step(const std::string& record, const std::string& name, const MakeOptimizer& make) {
  Recipe recipe;
  recipe.add<ConstantPruning>();
  Stepped ours(make), theirs(make);
  Session session(recipe, *ours.model, *ours.optimizer, 1000);
  return compare(
      record,
      "ResNet-50, 85 % zeros: " + name + " with masks in one pass, against LibTorch's " + name +
          " without masks",
      kStepPairs, [&] { session.begin_step().optimize(); }, [&] { theirs.optimizer->step(); });
}

Record sgd_step() {
  return optimizer_step("step/optimizer", "SGD", [](const auto& parameters) {
    return std::make_unique<torch::optim::SGD>(
        parameters, torch::optim::SGDOptions(0.001).momentum(0.9).weight_decay(1e-4));
  });
}

Record adamw_step() {
  return optimizer_step("step/optimizer-adamw", "AdamW", [](const auto& parameters) {
    return std::make_unique<torch::optim::AdamW>(parameters, torch::optim::AdamWOptions(1e-4));
  });
}

}  // namespace

std::vector<Comparison> training_step_comparisons() {
  return {{"step/prune", prune},
          {"step/optimizer", sgd_step},
          {"step/optimizer-adamw", adamw_step},
          {"step/default", precision_and_layout}};
}

}  // namespace sparsify::bench
