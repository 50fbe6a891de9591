// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "sparsify/trainers/metrics.hpp"
#include "workflow/layer_facts.hpp"
#include "workflow/parity.hpp"

namespace sparsify {

/// What a training run came to: summary.json, the final table and the report are made from it.
struct Summary {
  std::string recipe, model, data, target;
  std::int64_t epochs = 0;
  std::string metric{};              ///< of `final` and the baseline
  Evaluation final{};                ///< fp32, quantizers active, over the validation set
  std::string baseline_run{};        ///< path; empty: none
  std::optional<double> baseline{};  ///< its metric
  ModelFacts facts{};
  std::optional<std::int64_t> integer_layers{};  ///< that ONNX Runtime runs; not known for gpu files
  std::map<std::string, Parity> parity{};        ///< by engine
  std::map<std::string, std::filesystem::path> files{};
  double seconds = 0;
  std::vector<std::string> warnings{};
  bool agrees = true;  ///< the exported model computes what was trained
};

nlohmann::json to_json(const Summary& summary);

/// The summary as a table, beside its baseline's when there is one (null: none).
std::string to_table(const nlohmann::json& summary, const nlohmann::json& baseline);

}  // namespace sparsify
