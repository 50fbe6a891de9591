// SPDX-License-Identifier: Apache-2.0
#include "sparsify/trainers/ema.hpp"

#include <algorithm>

#include "sparsify/error.hpp"
#include "sparsify/trainers/weights.hpp"

namespace sparsify {
namespace {

StateDict float_entries(const torch::nn::Module& module) {
  auto entries = state_dict(module);
  std::erase_if(entries, [](const auto& entry) { return !entry.second.is_floating_point(); });
  return entries;
}

void require_same(const StateDict& shadow, const StateDict& other, const char* what) {
  const bool same =
      std::equal(shadow.begin(), shadow.end(), other.begin(), other.end(), [](const auto& a, const auto& b) {
        return a.first == b.first && a.second.sizes() == b.second.sizes();
      });
  if (!same) {
    throw Error(std::string("average: ") + what + " has other entries or shapes (" +
                std::to_string(other.size()) + ") than the averaged model (" + std::to_string(shadow.size()) +
                ")");
  }
}

}  // namespace

ModelEma::ModelEma(const torch::nn::Module& module, double decay) : decay_(decay) {
  if (!(decay >= 0 && decay < 1))
    throw Error("average: decay is " + std::to_string(decay) + ", expected 0 <= decay < 1");
  for (const auto& [name, tensor] : float_entries(module)) {
    // A 16-bit average would stand still: its last digit is coarser than 1 - decay.
    const auto type = tensor.scalar_type() == torch::kDouble ? torch::kDouble : torch::kFloat;
    shadow_[name] = tensor.to(type, /*non_blocking=*/false, /*copy=*/true);
  }
}

double ModelEma::next_decay() const {
  const auto t = static_cast<double>(updates_);
  return std::min(decay_, (1 + t) / (10 + t));
}

void ModelEma::update(const torch::nn::Module& module) {
  torch::NoGradGuard no_grad;
  const auto values = float_entries(module);
  require_same(shadow_, values, "the module");
  const double weight = 1 - next_decay();
  for (auto& [name, average] : shadow_) average.lerp_(values.at(name).to(average.options()), weight);
  ++updates_;
}

void ModelEma::copy_to(torch::nn::Module& module) const {
  torch::NoGradGuard no_grad;
  auto values = float_entries(module);
  require_same(shadow_, values, "the module");
  for (auto& [name, value] : values) value.copy_(shadow_.at(name));
}

void ModelEma::swap(torch::nn::Module& module) {
  torch::NoGradGuard no_grad;
  auto values = float_entries(module);
  require_same(shadow_, values, "the module");
  for (auto& [name, value] : values) {
    const auto own = value.clone();
    value.copy_(shadow_.at(name));
    shadow_.at(name).copy_(own);
  }
}

void ModelEma::load(const StateDict& shadow, int64_t updates) {
  torch::NoGradGuard no_grad;
  require_same(shadow_, shadow, "the saved average");
  for (auto& [name, average] : shadow_) average.copy_(shadow.at(name));
  updates_ = updates;
}

}  // namespace sparsify
