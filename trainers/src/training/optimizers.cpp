// SPDX-License-Identifier: Apache-2.0
#include "sparsify/trainers/optimizers.hpp"

#include <cmath>

#include "sparsify/error.hpp"

namespace sparsify {
namespace {

bool names_bias(const std::string& parameter) { return parameter == "bias" || parameter.ends_with(".bias"); }

template <class Options>
std::vector<torch::optim::OptimizerParamGroup> groups_of(torch::nn::Module& module, Options options) {
  std::vector<torch::Tensor> weights, norms, biases;
  for (const auto& parameter : module.named_parameters()) {
    const bool is_weight = parameter.value().dim() > 1;
    (is_weight ? weights : names_bias(parameter.key()) ? biases : norms).push_back(parameter.value());
  }
  std::vector<torch::optim::OptimizerParamGroup> groups;
  groups.emplace_back(weights, std::make_unique<Options>(options));
  options.weight_decay(0);
  groups.emplace_back(norms, std::make_unique<Options>(options));
  groups.emplace_back(biases, std::make_unique<Options>(options));
  return groups;
}

}  // namespace

std::unique_ptr<torch::optim::Optimizer> make_optimizer(torch::nn::Module& module,
                                                        const OptimizerOptions& options) {
  if (!(options.lr >= 0)) throw Error("lr: expected a number >= 0, got " + std::to_string(options.lr));
  if (!(options.weight_decay >= 0)) throw Error("weight_decay: expected a number >= 0");
  if (!(options.momentum >= 0 && options.momentum < 1))
    throw Error("momentum: expected a number from 0 to below 1");
  if (options.name == "sgd") {
    const auto own = torch::optim::SGDOptions(options.lr)
                         .momentum(options.momentum)
                         .weight_decay(options.weight_decay)
                         .nesterov(options.nesterov && options.momentum > 0);
    return std::make_unique<torch::optim::SGD>(groups_of(module, own), own);
  }
  if (options.name == "adamw") {
    const auto own = torch::optim::AdamWOptions(options.lr).weight_decay(options.weight_decay);
    return std::make_unique<torch::optim::AdamW>(groups_of(module, own), own);
  }
  throw Error("optimizer: expected sgd or adamw, got '" + options.name + "'");
}

void LearningRateSchedule::check() const {
  if (name != "cosine" && name != "constant" && name != "linear")
    throw Error("lr_schedule: expected cosine, linear or constant, got '" + name + "'");
  if (!(warmup_bias_lr >= 0)) throw Error("warmup_bias_lr: expected a number >= 0");
  if (!(warmup_momentum >= 0 && warmup_momentum < 1))
    throw Error("warmup_momentum: expected a number from 0 to below 1");
}

double LearningRateSchedule::warming(double from, double to, int64_t step) const {
  return from + (to - from) * static_cast<double>(step + 1) / static_cast<double>(warmup_steps);
}

double LearningRateSchedule::at(int64_t step) const {
  if (step < warmup_steps) return warming(0, base, step);
  if (name == "constant") return base;
  const double span = std::max<double>(1, static_cast<double>(total_steps - warmup_steps));
  const double x = std::min(1.0, static_cast<double>(step - warmup_steps) / span);
  const double left = name == "linear" ? 1 - x : (1 + std::cos(x * M_PI)) / 2;
  return base * (last + (1 - last) * left);
}

double LearningRateSchedule::of_biases(int64_t step) const {
  return step < warmup_steps ? warming(warmup_bias_lr, base, step) : at(step);
}

double LearningRateSchedule::momentum_at(int64_t step) const {
  const bool moves = warmup_momentum > 0 && momentum > 0;
  return moves && step < warmup_steps ? warming(warmup_momentum, momentum, step) : momentum;
}

void LearningRateSchedule::apply(int64_t step, torch::optim::Optimizer& optimizer) const {
  auto& groups = optimizer.param_groups();
  for (std::size_t i = 0; i < groups.size(); ++i) {
    auto& options = groups[i].options();
    options.set_lr(i == kBiasGroup ? of_biases(step) : at(step));
    if (auto* sgd = dynamic_cast<torch::optim::SGDOptions*>(&options)) sgd->momentum(momentum_at(step));
  }
}

}  // namespace sparsify
