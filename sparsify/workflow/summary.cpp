// SPDX-License-Identifier: Apache-2.0
#include "workflow/summary.hpp"

#include <nlohmann/json.hpp>

#include "workflow/metric_names.hpp"
#include "workflow/table.hpp"

namespace sparsify {
namespace {

using nlohmann::json;

json files_json(const Summary& summary) {
  auto files = json::object();
  for (const auto& [name, path] : summary.files) {
    std::error_code missing;
    const auto bytes = std::filesystem::file_size(path, missing);
    if (!missing) files[name] = {{"path", path.string()}, {"bytes", bytes}};
  }
  return files;
}

std::string exported_model(const json& summary) {
  for (const auto& [name, file] : summary.at("files").items())
    if (name.ends_with(".onnx")) return format_bytes(file.at("bytes").get<std::int64_t>());
  return "-";
}

template <class Show>
std::string parity_text(const json& summary, const char* key, Show&& show) {
  std::string text;
  for (const auto& [engine, parity] : summary.at("parity").items())
    text += (text.empty() ? "" : ", ") + show(parity.at(key));
  return text.empty() ? "-" : text;
}

std::vector<std::string> column(const json& summary) {
  const auto percent = [](const json& value) { return format_percent(value.get<double>()); };
  const auto& quantized = summary.at("quantized");
  char difference[32];
  return {summary.at("recipe").get<std::string>(),
          percent(summary.at("final")),
          percent(summary.at("sparsity").at("prunable")),
          std::to_string(quantized.at("layers").get<int>()) + " of " +
              std::to_string(quantized.at("of").get<int>()),
          exported_model(summary),
          parity_text(summary, "final", percent),
          parity_text(summary, "agreement", percent),
          parity_text(summary, "max_difference",
                      [&](const json& value) {
                        std::snprintf(difference, sizeof difference, "%.2g", value.get<double>());
                        return std::string(difference);
                      }),
          format_seconds(summary.at("seconds").get<double>())};
}

}  // namespace

json to_json(const Summary& summary) {
  json out = {{"metric", summary.metric},
              {"final", summary.final[summary.metric]},
              {"baseline", summary.baseline ? json(*summary.baseline) : json(nullptr)},
              {"seconds", summary.seconds}};
  out["sparsity"] = {{"prunable", summary.facts.prunable_sparsity()},
                     {"total", summary.facts.total_sparsity()},
                     {"layers", json::object()}};
  out["quantized"] = {{"layers", summary.facts.quantized_layers()},
                      {"of", summary.facts.layers.size()},
                      {"integer_layers", summary.integer_layers ? json(*summary.integer_layers) : json()}};
  out["unquantized"] = json::object();
  for (const auto& layer : summary.facts.layers) {
    out["sparsity"]["layers"][layer.name] = layer.sparsity();
    if (!layer.quantized)
      out["unquantized"][layer.name] = {{"rule", layer.left.rule}, {"reason", layer.left.reason}};
  }
  out["parity"] = json::object();
  for (const auto& [engine, parity] : summary.parity)
    out["parity"][engine] = {{"final", parity.engine_metric()},
                             {"agreement", parity.agreement},
                             {"max_difference", parity.max_difference},
                             {"images", parity.engine.images}};
  out["files"] = files_json(summary);
  out["warnings"] = summary.warnings;
  out["agrees"] = summary.agrees;
  out["recipe"] = summary.recipe;
  out["model"] = summary.model;
  out["data"] = summary.data;
  out["target"] = summary.target;
  out["epochs"] = summary.epochs;
  out["validation"] = {{"images", summary.final.images}};
  for (const auto& figure : summary.final.figures) out["validation"][figure.name] = figure.value;
  out["baseline_run"] = summary.baseline_run.empty() ? json(nullptr) : json(summary.baseline_run);
  out["version"] = SPARSIFY_VERSION;
  return out;
}

std::string to_table(const json& summary, const json& baseline) {
  const auto metric = label_of(summary.at("metric").get<std::string>());
  const std::vector<std::string> labels = {"",
                                           metric + ", trained model (fp32)",
                                           "sparsity of Conv/Linear weights",
                                           "layers quantized to INT8",
                                           "ONNX file",
                                           metric + ", ONNX Runtime",
                                           "equal decisions, ONNX Runtime",
                                           "largest difference of an output",
                                           "time"};
  std::vector<std::vector<std::string>> rows;
  for (const auto& label : labels) rows.push_back({label});
  for (const auto* shown : {&baseline, &summary}) {
    if (!shown->is_object()) continue;
    const auto cells = column(*shown);
    for (std::size_t i = 0; i < rows.size(); ++i) rows[i].push_back(cells[i]);
  }
  return format_table(rows);
}

}  // namespace sparsify
