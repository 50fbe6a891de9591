// SPDX-License-Identifier: Apache-2.0
#include "workflow/propose_latency.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "workflow/table.hpp"

namespace sparsify {
namespace {

// Less loss than in floating point is chance; what is no number must not be chosen early.
double cost(const LayerLatency& layer) {
  return std::isfinite(layer.loss_increase) ? std::max(0.0, layer.loss_increase)
                                            : std::numeric_limits<double>::infinity();
}

// Those that INT8 makes faster, the cheapest first.
std::vector<std::size_t> by_price(const std::vector<LayerLatency>& layers) {
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < layers.size(); ++i)
    if (layers[i].saved_ms > 0) order.push_back(i);
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return cost(layers[a]) / layers[a].saved_ms < cost(layers[b]) / layers[b].saved_ms;
  });
  return order;
}

std::string measured(const LayerLatency& layer) {
  return "INT8 saves " + format_fixed(layer.saved_ms, 4) + " ms, loss " +
         format_change(layer.loss_increase, 4);
}

}  // namespace

Error not_reached(double target_ms, const NetworkLatency& network, double least_ms) {
  return Error("a latency of " + format_fixed(target_ms, 3) +
               " ms is not reached: " + format_fixed(least_ms, 3) +
               " ms are the least here, with every layer in INT8 that gains by it (" +
               format_fixed(network.float_ms, 3) + " ms in floating point)");
}

LatencyProposal propose_latency(const NetworkLatency& network, double target_ms) {
  const auto& layers = network.layers;
  const auto order = by_price(layers);
  LatencyProposal proposal;
  proposal.predicted_ms = network.float_ms;
  std::vector<bool> chosen(layers.size(), false);
  if (network.float_ms > target_ms) {
    proposal.predicted_ms =
        std::accumulate(order.begin(), order.end(), network.int8_ms,
                        [&](double sum, std::size_t i) { return sum + layers[i].saved_ms; });
    // At least one: floating point alone is known to be too slow, whatever savings add up to.
    for (const auto i : order) {
      chosen[i] = true;
      proposal.predicted_ms -= layers[i].saved_ms;
      proposal.predicted_loss_increase += cost(layers[i]);
      if (proposal.predicted_ms <= target_ms) break;
    }
    // Sums of differences are not exact.
    if (order.empty() || proposal.predicted_ms > target_ms + 1e-9 * target_ms)
      throw not_reached(target_ms, network, std::min(network.int8_ms, network.float_ms));
  }
  for (std::size_t i = 0; i < layers.size(); ++i)
    (chosen[i] ? proposal.quantized : proposal.in_float).push_back(layers[i]);
  return proposal;
}

std::string recipe_text(const LatencyProposal& proposal, const NetworkLatency& network,
                        const std::vector<std::string>& never_quantized, const std::string& model,
                        const std::string& where) {
  std::string text =
      "# Proposed by sparsify analyze: INT8 where it costs least loss for the time it saves, " +
      std::to_string(proposal.quantized.size()) + " of " + std::to_string(network.layers.size()) +
      " layers.\n"
      "# One image in " +
      where + ":\n#   " + format_fixed(proposal.measured_ms, 3) + " ms as proposed (predicted " +
      format_fixed(proposal.predicted_ms, 3) + " ms), " + format_fixed(network.float_ms, 3) +
      " ms in floating point, " + format_fixed(network.int8_ms, 3) +
      " ms with all layers in INT8.\n"
      "# Loss " +
      format_change(proposal.predicted_loss_increase, 4) +
      " before any training, if the layers' increases add up.\n"
      "# Start from the analysed weights: sparsify train --recipe THIS --weights W --data D\n"
      "version: 1\n"
      "description: quantization of " +
      model +
      " by measured latency and sensitivity\n\n"
      "num_epochs: 5\n"
      "init_lr: 0.001\n\n"
      "run:\n"
      "  model: " +
      model +
      "\n"
      "  epochs: eval(num_epochs)\n"
      "  target: cpu\n\n"
      "training_modifiers:\n"
      "  - !EpochRangeModifier\n    start_epoch: 0\n    end_epoch: eval(num_epochs)\n"
      "  - !LearningRateFunctionModifier\n    lr_func: cosine\n    init_lr: eval(init_lr)\n    final_lr: 0\n"
      "    start_epoch: 0\n    end_epoch: eval(num_epochs)\n\n"
      "quantization_modifiers:\n"
      "  - !QuantizationModifier\n    scheme: cpu\n    start_epoch: 0\n"
      "    disable_quantization_observer_epoch: eval(0.8 * num_epochs)\n"
      "    freeze_bn_stats_epoch: eval(0.8 * num_epochs)\n";
  if (!proposal.in_float.empty() || !never_quantized.empty()) text += "    ignore:\n";
  for (const auto& layer : proposal.in_float)
    text += "      - " + layer.name + "  # " + measured(layer) + "\n";
  for (const auto& name : never_quantized) text += "      - " + name + "  # not measured in INT8\n";
  text += "    # In INT8:\n";
  for (const auto& layer : proposal.quantized)
    text += "    #   " + layer.name + ": " + measured(layer) + "\n";
  return text;
}

}  // namespace sparsify
