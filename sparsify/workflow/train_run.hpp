// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include <nlohmann/json.hpp>

#include "sparsify/load_recipe.hpp"
#include "sparsify/trainers/trainer.hpp"
#include "workflow/parity.hpp"
#include "workflow/run_directory.hpp"
#include "workflow/settings.hpp"

namespace sparsify {

struct TrainRequest {
  std::string recipe;  ///< path or name; may be empty when resuming
  RecipeArguments arguments{};
  std::map<std::string, RunDefault>
      flags{};  ///< settings given on the command line, by the names of Settings
  bool resume = false;
  bool export_model = true;
  std::optional<CalibrationOptions> one_shot{};  ///< apply the recipe once, train nothing
};

/// What the caller wants to hear. All optional.
struct TrainRunEvents {
  std::function<void(const TrainProgress&)> progress{};
  std::function<void(const EpochMetrics&, const std::string& metric, std::int64_t epochs)> epoch{};
  std::function<void(const std::string&)> note{};
  std::function<void(const std::string&)> warning{};
  /// The folder exists from here on; `description`: "resnet20 (0.27 M parameters) on generated: ...".
  std::function<void(const RunDirectory&, const std::string& description)> began{};
  ImageProgress comparing{};  ///< the trained model and its export
  std::function<bool()> stop_requested{};
};

/// One `sparsify train`: recipe, settings, data and model to a run directory.
class TrainRun {
 public:
  /// Checks everything and binds the recipe; writes nothing. Throws InputError.
  TrainRun(TrainRequest request, TrainRunEvents events);
  ~TrainRun();

  const RunDirectory& directory() const;
  /// Trains, exports, compares, reports; returns the summary. Throws Interrupted when a stop was asked for.
  nlohmann::json run();
  /// The baseline's summary, or null.
  const nlohmann::json& baseline() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sparsify
