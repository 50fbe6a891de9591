// SPDX-License-Identifier: Apache-2.0
#include "workflow/propose.hpp"

#include <algorithm>
#include <limits>

#include "sparsify/error.hpp"
#include "workflow/table.hpp"

namespace sparsify {
namespace {

/// A layer's loss increase at each level, level 0 first; never falling: less is never better than it was
/// measured.
struct Curve {
  std::vector<double> levels{0}, increases{0};
  std::size_t at = 0;

  Curve(const LayerSensitivity& layer, const Sensitivity& sensitivity) {
    for (std::size_t i = 0; i < layer.pruned.size(); ++i) {
      levels.push_back(sensitivity.levels[i]);
      increases.push_back(std::max(increases.back(), layer.pruned[i].loss - sensitivity.dense.loss));
    }
  }
};

}  // namespace

Proposal propose_sparsity(const Sensitivity& sensitivity, double target) {
  std::vector<Curve> curves;
  double total = 0, most = 0, removed = 0;
  for (const auto& layer : sensitivity.layers) {
    curves.emplace_back(layer, sensitivity);
    total += static_cast<double>(layer.elements);
    most += curves.back().levels.back() * static_cast<double>(layer.elements);
  }
  const double wanted = target * total - 0.5;  // in weights: sums of fractions are not exact
  if (most < wanted)
    throw Error("a sparsity of " + format_percent(target, 1) +
                " is not reached with every layer at its highest level, " +
                format_percent(sensitivity.levels.back(), 1) + ": measure higher levels");
  Proposal proposal;
  while (removed < wanted) {
    double best = std::numeric_limits<double>::infinity();
    std::size_t layer = 0, level = 0;
    for (std::size_t i = 0; i < curves.size(); ++i)
      for (std::size_t next = curves[i].at + 1; next < curves[i].levels.size(); ++next) {
        const double more = (curves[i].levels[next] - curves[i].levels[curves[i].at]) *
                            static_cast<double>(sensitivity.layers[i].elements);
        const double price = (curves[i].increases[next] - curves[i].increases[curves[i].at]) / more;
        if (price < best) best = price, layer = i, level = next;
      }
    auto& chosen = curves[layer];
    removed += (chosen.levels[level] - chosen.levels[chosen.at]) *
               static_cast<double>(sensitivity.layers[layer].elements);
    proposal.predicted_loss_increase += chosen.increases[level] - chosen.increases[chosen.at];
    chosen.at = level;
  }
  for (std::size_t i = 0; i < curves.size(); ++i)
    proposal.sparsity[sensitivity.layers[i].name] = curves[i].levels[curves[i].at];
  proposal.reached = removed / total;
  return proposal;
}

std::string recipe_text(const Proposal& proposal, const Sensitivity& sensitivity, const std::string& model) {
  std::map<double, std::vector<std::string>, std::greater<>> tiers;
  for (const auto& layer : sensitivity.layers) tiers[proposal.sparsity.at(layer.name)].push_back(layer.name);
  std::string text =
      "# Proposed by sparsify analyze: each layer as sparse as it bears, " +
      format_fixed(100 * proposal.reached, 2) +
      " % of all weights.\n"
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
