// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <vector>

#include "workflow/sensitivity.hpp"

namespace sparsify {

/// A sparsity for every layer; together they reach a target.
struct Proposal {
  std::map<std::string, double> sparsity;  ///< by name of the weight; 0: stays dense
  double reached = 0;                      ///< over all prunable weights
  double speedup = 1;                      ///< how many times fewer multiply-adds are left
  double predicted_loss_increase = 0;      ///< if the layers' increases add up
};

/// Chooses from the measured levels so that the sum of the layers' loss increases is small: again and again
/// the step that costs least loss for each weight removed, until `target` of all weights are gone. Throws
/// Error when even the highest levels do not reach it.
Proposal propose_sparsity(const Sensitivity& sensitivity, double target);

/// The same with multiply-adds in place of weights, until one in `speedup` is left: how much faster an engine
/// can get that skips all zeros and spends its time on nothing else.
Proposal propose_speedup(const Sensitivity& sensitivity, double speedup);

/// A recipe that prunes as proposed, gradually, then fine-tunes; layers by sparsity, with what was measured
/// as comments.
std::string recipe_text(const Proposal& proposal, const Sensitivity& sensitivity, const std::string& model);

}  // namespace sparsify
