// SPDX-License-Identifier: Apache-2.0
#include "workflow/report_html.hpp"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "workflow/chart.hpp"
#include "workflow/html.hpp"
#include "workflow/summary.hpp"
#include "workflow/svg.hpp"
#include "workflow/table.hpp"

namespace sparsify {
namespace {

using nlohmann::json;

struct Curve {
  const char* column;
  const char* label;
  const char* colour;
};

std::string plot(const std::map<std::string, std::vector<double>>& metrics, const std::vector<Curve>& curves,
                 bool fractions) {
  double highest = fractions ? 1 : 0;
  std::size_t epochs = 0;
  for (const auto& curve : curves)
    if (const auto found = metrics.find(curve.column); found != metrics.end())
      for (const double value : found->second)
        highest = std::max(highest, value), epochs = std::max(epochs, found->second.size());
  if (epochs == 0) return "";
  Chart chart({1, 0}, {static_cast<double>(epochs), highest});
  for (const auto& curve : curves) {
    const auto found = metrics.find(curve.column);
    if (found == metrics.end()) continue;
    std::vector<Point> points;
    for (const double value : found->second)
      points.push_back({static_cast<double>(points.size() + 1), value});
    chart.curve(curve.label, curve.colour, points, true);
  }
  return chart.svg();
}

std::string layer_rows(const json& summary) {
  std::string rows;
  const auto& unquantized = summary.at("unquantized");
  for (const auto& [name, sparsity] : summary.at("sparsity").at("layers").items()) {
    const auto percent = svg_number(100 * sparsity.get<double>());
    const auto arithmetic = unquantized.contains(name)
                                ? "float: " + unquantized.at(name).at("reason").get<std::string>()
                                : "INT8";
    rows += "<tr><td>" + escape_html(name) +
            "</td><td style='width:35%'><div class='bar'><div style='width:" + percent +
            "%'></div></div></td><td class='n'>" + percent + " %</td><td>" + escape_html(arithmetic) +
            "</td></tr>\n";
  }
  return rows;
}

std::string file_rows(const json& summary) {
  std::string rows;
  for (const auto& [name, file] : summary.at("files").items())
    rows += "<tr><td>" + escape_html(name) + "</td><td class='n'>" +
            format_bytes(file.at("bytes").get<std::int64_t>()) + "</td><td>" +
            escape_html(file.at("path").get<std::string>()) + "</td></tr>\n";
  return rows;
}

// They lie beside the report.
std::string pictures(const json& summary) {
  std::string html;
  for (const auto& [name, title] :
       {std::pair{"labels.jpg", "Labels"}, std::pair{"predictions.jpg", "Predictions"},
        std::pair{"PR_curve.svg", "Precision by recall"}, std::pair{"F1_curve.svg", "F1 by confidence"},
        std::pair{"confusion_matrix.svg", "What objects are taken for"}})
    if (summary.at("files").contains(name))
      html += std::string("\n<h2>") + title + "</h2>\n<img src='" + name + "' style='max-width:100%' alt='" +
              title + "'>";
  return html;
}

}  // namespace

std::string report_html(const json& summary, const json& baseline,
                        const std::map<std::string, std::vector<double>>& metrics) {
  const auto text = [&](const char* key) { return escape_html(summary.at(key).get<std::string>()); };
  std::string warnings;
  for (const auto& warning : summary.at("warnings"))
    warnings += "<p class='warn'>" + escape_html(warning.get<std::string>()) + "</p>\n";
  return html_page(
      summary.at("recipe").get<std::string>(),
      "<p>" + text("model") + " on " + text("data") + ", " + std::to_string(summary.at("epochs").get<int>()) +
          " epochs</p>\n" + warnings + "<h2>Result</h2>\n<pre>" + escape_html(to_table(summary, baseline)) +
          "</pre>\n" + "<h2>Accuracy and sparsity by epoch</h2>\n" +
          plot(metrics,
               {{"val_top1", "validation top-1", "#2f6fd6"},
                {"train_top1", "training top-1", "#9aa5b5"},
                {"val_map50", "validation mAP@0.5", "#2f6fd6"},
                {"val_map", "validation mAP@0.5:0.95", "#9aa5b5"},
                {"sparsity", "sparsity", "#c0392b"},
                {"quantized", "quantized (0 or 1)", "#27864a"}},
               true) +
          "\n<h2>Loss by epoch</h2>\n" +
          plot(metrics,
               {{"val_loss", "validation", "#2f6fd6"},
                {"train_loss", "training", "#9aa5b5"},
                {"train_box", "box", "#2f6fd6"},
                {"train_obj", "objectness", "#c0392b"},
                {"train_cls", "classes", "#27864a"}},
               false) +
          pictures(summary) +
          "\n<h2>Layers</h2>\n<table><tr><th>weight</th><th>sparsity</th><th></th><th>arithmetic</th></"
          "tr>\n" +
          layer_rows(summary) + "</table>\n<h2>Files</h2>\n<table>" + file_rows(summary) + "</table>\n");
}

}  // namespace sparsify
