// SPDX-License-Identifier: Apache-2.0
#include "sparsify/trainers/optimizers.hpp"

#include <cmath>

#include "sparsify/error.hpp"

namespace sparsify {
namespace {

template <class Options>
std::vector<torch::optim::OptimizerParamGroup> decay_groups(torch::nn::Module& module, Options options) {
  std::vector<torch::Tensor> weights, others;
  for (const auto& parameter : module.parameters())
    (parameter.dim() > 1 ? weights : others).push_back(parameter);
  std::vector<torch::optim::OptimizerParamGroup> groups;
  groups.emplace_back(weights, std::make_unique<Options>(options));
  options.weight_decay(0);
  groups.emplace_back(others, std::make_unique<Options>(options));
  return groups;
}

}  // namespace

std::unique_ptr<torch::optim::Optimizer> make_optimizer(torch::nn::Module& module,
                                                        const OptimizerOptions& options) {
  if (!(options.lr > 0)) throw Error("lr: expected a number > 0, got " + std::to_string(options.lr));
  if (!(options.weight_decay >= 0)) throw Error("weight_decay: expected a number >= 0");
  if (!(options.momentum >= 0 && options.momentum < 1))
    throw Error("momentum: expected a number from 0 to below 1");
  if (options.name == "sgd") {
    const auto own = torch::optim::SGDOptions(options.lr)
                         .momentum(options.momentum)
                         .weight_decay(options.weight_decay)
                         .nesterov(options.nesterov && options.momentum > 0);
    return std::make_unique<torch::optim::SGD>(decay_groups(module, own), own);
  }
  if (options.name == "adamw") {
    const auto own = torch::optim::AdamWOptions(options.lr).weight_decay(options.weight_decay);
    return std::make_unique<torch::optim::AdamW>(decay_groups(module, own), own);
  }
  throw Error("optimizer: expected sgd or adamw, got '" + options.name + "'");
}

void LearningRateSchedule::check() const {
  if (name != "cosine" && name != "constant" && name != "linear")
    throw Error("lr_schedule: expected cosine, linear or constant, got '" + name + "'");
}

double LearningRateSchedule::at(int64_t step) const {
  if (step < warmup_steps) return base * static_cast<double>(step + 1) / static_cast<double>(warmup_steps);
  if (name == "constant") return base;
  const double span = std::max<double>(1, static_cast<double>(total_steps - warmup_steps));
  const double x = std::min(1.0, static_cast<double>(step - warmup_steps) / span);
  const double left = name == "linear" ? 1 - x : (1 + std::cos(x * M_PI)) / 2;
  return base * (last + (1 - last) * left);
}

}  // namespace sparsify
