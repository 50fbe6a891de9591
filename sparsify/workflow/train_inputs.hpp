// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <string>

#include <nlohmann/json.hpp>

#include "workflow/model_card.hpp"
#include "workflow/networks.hpp"
#include "workflow/train_run.hpp"

namespace sparsify {

/// Everything that a training run starts from, checked.
struct TrainInputs {
  RecipeFile recipe;
  std::string recipe_name;  ///< without folder and ".yaml"
  RecipeArguments arguments{};
  Settings settings{};
  RunDirectory directory{""};
  bool resume = false;        ///< continue from the last checkpoint
  bool begun = false;         ///< the run directory exists already
  nlohmann::json baseline{};  ///< summary of the baseline run, or null
  OpenedTask opened{};
  std::shared_ptr<Network> teacher{};  ///< or null

  ModelCard card() const;
  nlohmann::json config() const;
};

/// Reads and checks recipe, settings, output directory, baseline, data, model and weights, in this order,
/// cheap things first. Writes nothing. Throws InputError.
TrainInputs gather(const TrainRequest& request, const std::function<void(const std::string&)>& note);

}  // namespace sparsify
