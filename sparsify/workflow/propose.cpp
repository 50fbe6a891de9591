// SPDX-License-Identifier: Apache-2.0
#include "workflow/propose.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "sparsify/error.hpp"
#include "workflow/table.hpp"

namespace sparsify {
namespace {

/// A layer's loss increase at each level, level 0 first; never falling: less is never better than it was
/// measured.
struct LayerCurve {
  std::vector<double> levels{0}, increases{0};
  std::size_t at = 0;

  LayerCurve(const LayerSensitivity& layer, const Sensitivity& sensitivity) {
    for (std::size_t i = 0; i < layer.pruned.size(); ++i) {
      levels.push_back(sensitivity.levels[i]);
      const double increase = layer.pruned[i].loss - sensitivity.dense.loss;
      increases.push_back(std::isfinite(increase) ? std::max(increases.back(), increase)
                                                  : std::numeric_limits<double>::infinity());
    }
  }
};

/// What a target is counted in: weights or multiply-adds.
using Size = std::int64_t LayerSensitivity::*;

double total(const Sensitivity& sensitivity, Size size) {
  double sum = 0;
  for (const auto& layer : sensitivity.layers) sum += static_cast<double>(layer.*size);
  return sum;
}

// Removed at the chosen levels.
double removed(const std::vector<LayerCurve>& curves, const Sensitivity& sensitivity, Size size) {
  double sum = 0;
  for (std::size_t i = 0; i < curves.size(); ++i)
    sum += curves[i].levels[curves[i].at] * static_cast<double>(sensitivity.layers[i].*size);
  return sum;
}

// Raises one layer's level: the one that costs least loss for what it removes. False when all are at their
// highest.
bool raise_the_cheapest(std::vector<LayerCurve>& curves, const Sensitivity& sensitivity, Size size) {
  double best = std::numeric_limits<double>::infinity();
  std::size_t layer = 0, level = 0;
  for (std::size_t i = 0; i < curves.size(); ++i) {
    const auto& [levels, increases, at] = curves[i];
    for (std::size_t next = at + 1; next < levels.size(); ++next) {
      const double more = (levels[next] - levels[at]) * static_cast<double>(sensitivity.layers[i].*size);
      const double price = more > 0 ? (increases[next] - increases[at]) / more : best;
      if (price < best) best = price, layer = i, level = next;
    }
  }
  if (level > 0) curves[layer].at = level;
  return level > 0;
}

Proposal propose(const Sensitivity& sensitivity, Size size, double wanted, const std::string& target) {
  std::vector<LayerCurve> curves;
  curves.reserve(sensitivity.layers.size());
  for (const auto& layer : sensitivity.layers) curves.emplace_back(layer, sensitivity);
  while (removed(curves, sensitivity, size) < wanted)
    if (!raise_the_cheapest(curves, sensitivity, size))
      throw Error(target + " is not reached with every layer at its highest level, " +
                  format_percent(sensitivity.levels.back(), 1) + ": measure higher levels");
  Proposal proposal;
  for (std::size_t i = 0; i < curves.size(); ++i) {
    proposal.sparsity[sensitivity.layers[i].name] = curves[i].levels[curves[i].at];
    proposal.predicted_loss_increase += curves[i].increases[curves[i].at];
  }
  proposal.reached = removed(curves, sensitivity, &LayerSensitivity::elements) /
                     total(sensitivity, &LayerSensitivity::elements);
  const auto work = total(sensitivity, &LayerSensitivity::multiply_adds);
  proposal.speedup = work / (work - removed(curves, sensitivity, &LayerSensitivity::multiply_adds));
  return proposal;
}

// Half a weight, or half a multiply-add, less than asked for: sums of fractions are not exact.
constexpr double kHalf = 0.5;

}  // namespace

Proposal propose_sparsity(const Sensitivity& sensitivity, double target) {
  const auto size = &LayerSensitivity::elements;
  return propose(sensitivity, size, target * total(sensitivity, size) - kHalf,
                 "a sparsity of " + format_percent(target, 1));
}

Proposal propose_speedup(const Sensitivity& sensitivity, double speedup) {
  const auto size = &LayerSensitivity::multiply_adds;
  return propose(sensitivity, size, (1 - 1 / speedup) * total(sensitivity, size) - kHalf,
                 "a speed-up of " + format_fixed(speedup, 1));
}

std::string recipe_text(const Proposal& proposal, const Sensitivity& sensitivity, const std::string& model) {
  std::map<double, std::vector<std::string>, std::greater<>> tiers;
  for (const auto& layer : sensitivity.layers) tiers[proposal.sparsity.at(layer.name)].push_back(layer.name);
  std::string text =
      "# Proposed by sparsify analyze: each layer as sparse as it bears, " +
      format_fixed(100 * proposal.reached, 2) + " % of all weights, " + format_fixed(proposal.speedup, 2) +
      " times fewer multiply-adds.\n"
      "# Measured on " +
      std::to_string(sensitivity.dense.images) +
      " training images, each layer pruned alone and at once: loss " +
      format_fixed(sensitivity.dense.loss, 4) + " dense, " +
      format_fixed(sensitivity.dense.loss + proposal.predicted_loss_increase, 4) +
      " if the increases add up.\n"
      "# Start from the analysed weights: sparsify train --recipe THIS --weights W --data D\n"
      "version: 1\n"
      "description: non-uniform gradual pruning of " +
      model +
      " by measured sensitivity\n\n"
      "num_epochs: 20\n"
      "init_lr: 0.01\n\n"
      "run:\n"
      "  model: " +
      model +
      "\n"
      "  epochs: eval(num_epochs)\n\n"
      "training_modifiers:\n"
      "  - !EpochRangeModifier\n    start_epoch: 0\n    end_epoch: eval(num_epochs)\n"
      "  - !LearningRateFunctionModifier\n    lr_func: cosine\n    init_lr: eval(init_lr)\n    final_lr: 0\n"
      "    start_epoch: 0\n    end_epoch: eval(num_epochs)\n\n"
      "pruning_modifiers:\n"
      "  - !MagnitudePruningModifier\n    init_sparsity: 0.05\n    start_epoch: 0\n"
      "    end_epoch: eval(0.5 * num_epochs)\n    update_frequency: 0.1\n    final_sparsity:\n";
  for (const auto& [sparsity, names] : tiers) {
    if (sparsity == 0) continue;
    text += "      " + format_fixed(sparsity, 4) + ":\n";
    for (const auto& name : names) text += "        - " + name + "\n";
  }
  if (tiers.count(0)) {
    text += "    # These stay dense:\n";
    for (const auto& name : tiers.at(0)) text += "    #   " + name + "\n";
  }
  return text;
}

}  // namespace sparsify
