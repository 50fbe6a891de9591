// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <torch/torch.h>

#include <algorithm>
#include <string>

#include "sparsify/state_dict.hpp"
#include "sparsify/trainers/metrics.hpp"

namespace sparsify {

/// Means over images of figures that come batch by batch.
struct FigureSums {
  double images = 0;
  Figures sums{};

  void add(const Figures& figures, double count) {
    if (sums.empty())
      for (const auto& figure : figures) sums.push_back({figure.name, 0});
    for (std::size_t i = 0; i < sums.size(); ++i) sums[i].value += figures[i].value * count;
    images += count;
  }
  Figures means() const {
    auto result = sums;
    for (auto& figure : result) figure.value /= std::max(1.0, images);
    return result;
  }
  double mean(const std::string& name) const { return value_of(means(), name); }

  void save(StateDict& state) const {
    state["trainer.images"] = torch::tensor(images, torch::kDouble);
    for (std::size_t i = 0; i < sums.size(); ++i)
      state["trainer.sums." + std::to_string(i) + "." + sums[i].name] =
          torch::tensor(sums[i].value, torch::kDouble);
  }
  void load(const StateDict& state) {
    images = state.at("trainer.images").item<double>();
    sums.clear();
    for (const auto& [name, value] : state)  // in order: a state is sorted, and there are fewer than ten
      if (name.rfind("trainer.sums.", 0) == 0)
        sums.push_back({name.substr(name.find('.', 13) + 1), value.item<double>()});
  }
};

}  // namespace sparsify
