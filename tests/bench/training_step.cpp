// SPDX-License-Identifier: Apache-2.0
#include <torch/torch.h>

#include "bench.hpp"
#include "sparsify/modifiers/constant_pruning.hpp"
#include "sparsify/modifiers/magnitude_pruning.hpp"
#include "sparsify/modifiers/quantization.hpp"
#include "sparsify/session.hpp"
#include "sparsify/trainers/model.hpp"
#include "sparsify/trainers/precision.hpp"

namespace sparsify::bench {
namespace {

constexpr int64_t kBatch = 8, kSize = 224, kPairs = 9;

/// ResNet-50 with its optimizer and, for one side of a comparison, a session.
struct Training {
  Training(const std::string& precision_name, bool channels_last, const Recipe& recipe = {},
           int64_t steps_per_epoch = 1000)
      : precision(parse_precision(precision_name, torch::kCPU)) {
    torch::manual_seed(0);
    model = build_model("resnet50");
    images = torch::randn({kBatch, 3, kSize, kSize});
    labels = torch::randint(1000, {kBatch});
    if (channels_last) {
      use_channels_last(*model);
      images = images.contiguous(at::MemoryFormat::ChannelsLast);
    }
    optimizer = std::make_unique<torch::optim::SGD>(
        model->parameters(), torch::optim::SGDOptions(0.001).momentum(0.9).weight_decay(1e-4));
    session = std::make_unique<Session>(recipe, *model, *optimizer, steps_per_epoch);
  }

  void step() {
    const auto step = session->begin_step();
    optimizer->zero_grad();
    torch::Tensor logits;
    {
      const Autocast autocast(precision, torch::kCPU);
      logits = step.forward([&] { return model->forward(images); });
    }
    step.loss(torch::nn::functional::cross_entropy(logits.to(torch::kFloat), labels)).backward();
    step.optimize();
  }

  Precision precision;
  std::shared_ptr<Model> model;
  torch::Tensor images, labels;
  std::unique_ptr<torch::optim::SGD> optimizer;
  std::unique_ptr<Session> session;
};

const std::string kWhat = "ResNet-50, 224 px, batch 8: one training step ";

Record prune() {
  // pruned_quant.yaml updates masks every half epoch; an epoch of ImageNet at this batch has 160,000 steps,
  // one of the generated set about 80. A window of 200 steps with updates every 40 is denser than either.
  GradualPruningOptions options;
  options.window = {0, 0.2}, options.update_frequency = 0.04, options.final_sparsity = 0.85;
  Recipe recipe;
  recipe.add<MagnitudePruning>(options);
  Training dense("auto", true), pruned("auto", true, recipe);
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

Record qat() {
  Recipe recipe;
  recipe.add<Quantization>();
  Training dense("auto", true), quantized("auto", true, recipe);
  quantized.step();  // records the graph
  auto record = compare(
      "step/qat", kWhat + "with fake-quantization, against without", kPairs, [&] { quantized.step(); },
      [&] { dense.step(); });
  record.precision = to_string(dense.precision);
  return record;
}

Record precision_and_layout() {
  Training best("auto", true), plain("fp32", false);
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
  Training ours("fp32", true, recipe), theirs("fp32", true);
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
  return {{"step/prune", prune},
          {"step/optimizer", optimizer_step},
          {"step/qat", qat},
          {"step/default", precision_and_layout}};
}

}  // namespace sparsify::bench
