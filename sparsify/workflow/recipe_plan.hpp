// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "sparsify/load_recipe.hpp"
#include "sparsify/session.hpp"
#include "workflow/networks.hpp"

namespace torch::optim {
class Optimizer;
}

namespace sparsify {

/// A recipe bound to a network without training: what will be done, when, to which parameters.
class RecipePlan {
 public:
  /// Throws Error listing everything that does not fit the network.
  RecipePlan(const RecipeFile& file, const std::string& model, std::int64_t steps_per_epoch);
  ~RecipePlan();

  /// One line for everything a modifier schedules.
  struct Line {
    std::string modifier;
    std::string line;  ///< where the recipe has it: "7", or "base.yaml:7" in a file that it extends
    Schedule schedule;
    std::int64_t updates;  ///< steps at which it acts; of what is only on or off, 1
  };
  const std::vector<Line>& lines() const { return lines_; }
  const Session& session() const { return *session_; }
  std::int64_t epochs() const { return epochs_; }
  double epoch_of(std::int64_t step) const;
  /// The step at which a schedule ends, or training does.
  std::int64_t end_of(const StepPlan& plan) const;

 private:
  std::shared_ptr<Network> model_;
  std::unique_ptr<torch::optim::Optimizer> optimizer_;
  std::unique_ptr<Session> session_;
  std::int64_t epochs_;
  std::vector<Line> lines_;
};

/// When each modifier acts, in epochs and steps, and from which value to which.
std::string plan_table(const RecipePlan& plan);
/// What becomes of every prunable parameter, and of others that are acted on.
std::string parameter_table(const RecipePlan& plan);
/// A page with sparsity, learning rate and phases over the epochs.
std::string plan_html(const RecipePlan& plan, const std::string& title);

}  // namespace sparsify
