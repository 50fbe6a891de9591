// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sparsify/state.hpp"

namespace sparsify {

/// Which of the optimizer's parameter groups a modifier sets.
struct ParamGroups {
  std::vector<std::int64_t> param_groups{};

  template <class Visitor>
  void fields(Visitor& visit) {
    visit("param_groups", param_groups, "indices of the optimizer's parameter groups; empty: all");
  }

  /// Claims `what` for the chosen groups. Throws InvalidField for a group the optimizer does not have.
  void claim(Binding& binding, const std::string& what, std::int64_t first, std::int64_t end) const {
    if (param_groups.empty()) binding.claim(what, first, end);
    const auto count = static_cast<std::int64_t>(binding.state().optimizer->param_groups().size());
    for (const auto group : param_groups) {
      if (group < 0 || group >= count)
        throw InvalidField("param_groups", "expected indices from 0 to " + std::to_string(count - 1) +
                                               ", the optimizer's groups, got " + std::to_string(group));
      binding.claim(what, first, end, group);
    }
  }

  /// The chosen groups.
  std::vector<torch::optim::OptimizerParamGroup*> of(State& state) const {
    std::vector<torch::optim::OptimizerParamGroup*> chosen;
    auto& groups = state.optimizer->param_groups();
    if (param_groups.empty())
      for (auto& group : groups) chosen.push_back(&group);
    for (const auto index : param_groups) chosen.push_back(&groups[static_cast<std::size_t>(index)]);
    return chosen;
  }

  void set_learning_rate(State& state, double rate) const {
    for (auto* group : of(state)) group->options().set_lr(rate);
  }
};

}  // namespace sparsify
