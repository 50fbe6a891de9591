// SPDX-License-Identifier: Apache-2.0
#include "workflow/sensitivity.hpp"

#include <algorithm>
#include <cmath>
#include <optional>

#include "sparsify/graph/recorder.hpp"
#include "sparsify/masks/apply.hpp"
#include "sparsify/masks/smallest.hpp"
#include "sparsify/modifiers/quantization.hpp"
#include "sparsify/session.hpp"
#include "sparsify/trainers/loader.hpp"
#include "sparsify/trainers/classification.hpp"
#include "workflow/multiply_adds.hpp"

namespace sparsify {
namespace {

using Logits = std::function<torch::Tensor(const torch::Tensor&)>;

// Kept in memory: every measurement sees the same images.
std::vector<trainers::Batch> draw(const trainers::Datasets& data, const SensitivityOptions& options) {
  auto order = trainers::in_order(data, options.batch_size, options.workers);
  order.shuffle = true, order.seed = options.seed;
  trainers::Loader loader(data.train, order);
  loader.start_epoch(0);
  std::vector<trainers::Batch> batches;
  for (std::int64_t left = options.images; left > 0;) {
    auto batch = loader.next();
    if (!batch) break;
    const auto size = std::min(left, batch->images.size(0));
    batches.push_back({batch->images.slice(0, 0, size), batch->labels.slice(0, 0, size)});
    left -= size;
  }
  return batches;
}

LossAndTop1 evaluate_on(const std::vector<trainers::Batch>& batches, const Logits& forward) {
  EvaluationSum sum;
  for (const auto& batch : batches) sum.add(forward(batch.images), batch.labels);
  const auto mean = sum.mean();
  return {mean.images, mean["loss"], mean["top1"]};
}

/// Holds a weight, and puts it back.
class Restored {
 public:
  explicit Restored(const torch::Tensor& weight) : weight_(weight.detach()), before_(weight_.clone()) {}
  ~Restored() { weight_.copy_(before_); }
  Restored(const Restored&) = delete;
  Restored& operator=(const Restored&) = delete;

 private:
  torch::Tensor weight_, before_;
};

LossAndTop1 pruned_to(const torch::Tensor& weight, double sparsity,
                      const std::vector<trainers::Batch>& batches, const Logits& forward) {
  const Restored restored(weight);
  const auto pruned = std::llround(sparsity * static_cast<double>(weight.numel()));
  apply_mask_(weight.detach(), smallest_magnitude_masks({{weight}}, {pruned}).front().front());
  return evaluate_on(batches, forward);
}

// A session that quantizes this layer only, its ranges taken from the first batches.
void quantize(LayerSensitivity& layer, Model& model, const std::string& scheme,
              const std::vector<trainers::Batch>& batches) {
  constexpr std::size_t kCalibration = 2;
  Recipe recipe;
  Quantization::Options options;
  options.scheme = scheme, options.submodules = {layer.name};
  recipe.add<Quantization>(options);
  torch::optim::SGD optimizer(model.parameters(), 0);
  Session session(recipe, model, optimizer, 1);
  try {
    // The first pass is recorded, the others are observed.
    for (std::size_t i = 0; i <= std::min(kCalibration, batches.size()); ++i)
      session.calibrate([&] { model.forward(batches[i % batches.size()].images); });
  } catch (const Error& error) {
    layer.not_quantized = error.what();
    return;
  }
  layer.quantized = evaluate_on(batches, [&](const torch::Tensor& images) {
    return session.evaluate([&] { return model.forward(images); });
  });
}

}  // namespace

Sensitivity measure_sensitivity(Model& model, const trainers::Datasets& data,
                                const SensitivityOptions& options,
                                const std::function<bool(std::int64_t, std::int64_t)>& progress) {
  const torch::NoGradGuard no_grad;
  model.eval();
  const auto batches = draw(data, options);
  const Logits forward = [&](const torch::Tensor& images) { return model.forward(images); };
  Sensitivity result;
  result.levels = options.levels;
  std::sort(result.levels.begin(), result.levels.end());
  result.dense = evaluate_on(batches, forward);

  const auto work = multiply_adds(record(model, batches.front().images.slice(0, 0, 1)));
  std::vector<std::pair<std::string, torch::Tensor>> weights;
  for (const auto& parameter : model.named_parameters())
    if (Parameter{parameter.key(), parameter.value()}.prunable())
      weights.emplace_back(parameter.key(), parameter.value());
  const auto each = static_cast<std::int64_t>(result.levels.size()) + (options.scheme.empty() ? 0 : 1);
  std::int64_t done = 0;
  for (const auto& [name, weight] : weights) {
    const auto found = work.find(name);
    LayerSensitivity layer{.name = name,
                           .elements = weight.numel(),
                           .multiply_adds = found == work.end() ? 0 : found->second,
                           .pruned = {},
                           .quantized = {},
                           .not_quantized = options.scheme.empty() ? "not asked for" : ""};
    for (const double level : result.levels) {
      if (!progress(done++, each * static_cast<std::int64_t>(weights.size()))) return result;
      layer.pruned.push_back(pruned_to(weight, level, batches, forward));
    }
    if (!options.scheme.empty()) {
      if (!progress(done++, each * static_cast<std::int64_t>(weights.size()))) return result;
      quantize(layer, model, options.scheme, batches);
    }
    result.layers.push_back(std::move(layer));
  }
  progress(done, done);
  return result;
}

}  // namespace sparsify
