// SPDX-License-Identifier: Apache-2.0
#include "workflow/sensitivity_report.hpp"

#include <algorithm>
#include <cmath>

#include "workflow/chart.hpp"
#include "workflow/html.hpp"
#include "workflow/table.hpp"

namespace sparsify {
namespace {

double increase(const Sensitivity& sensitivity, const LossAndTop1& measured) {
  return measured.loss - sensitivity.dense.loss;
}

std::size_t nearest_level(const Sensitivity& sensitivity, double level) {
  std::size_t best = 0;
  for (std::size_t i = 0; i < sensitivity.levels.size(); ++i)
    if (std::fabs(sensitivity.levels[i] - level) < std::fabs(sensitivity.levels[best] - level)) best = i;
  return best;
}

std::vector<const LayerSensitivity*> by_increase(const Sensitivity& sensitivity, std::size_t level) {
  std::vector<const LayerSensitivity*> layers;
  for (const auto& layer : sensitivity.layers) layers.push_back(&layer);
  std::stable_sort(layers.begin(), layers.end(), [&](const auto* a, const auto* b) {
    return a->pruned[level].loss > b->pruned[level].loss;
  });
  return layers;
}

// White for nothing, red for a loss increase of 1 and more, on a root scale so that small ones show.
std::string shade(double value) {
  const double depth = std::sqrt(std::clamp(value, 0.0, 1.0));
  const auto fade = static_cast<int>(255 - 175 * depth);
  return "rgb(255," + std::to_string(fade) + "," + std::to_string(fade) + ")";
}

std::string cell(double value) {
  return "<td class='n' style='background:" + shade(value) + "'>" + format_change(value, 3) + "</td>";
}

}  // namespace

std::string sensitivity_csv(const Sensitivity& sensitivity) {
  std::string text = "layer,elements,multiply_adds,what,level,loss,loss_increase,top1\n";
  const auto row = [&](const LayerSensitivity& layer, const std::string& what, const std::string& level,
                       const LossAndTop1& measured) {
    text += layer.name + "," + std::to_string(layer.elements) + "," + std::to_string(layer.multiply_adds) +
            "," + what + "," + level + "," + format_fixed(measured.loss, 6) + "," +
            format_fixed(increase(sensitivity, measured), 6) + "," + format_fixed(measured.top1, 5) + "\n";
  };
  for (const auto& layer : sensitivity.layers) {
    for (std::size_t i = 0; i < layer.pruned.size(); ++i)
      row(layer, "sparsity", format_fixed(sensitivity.levels[i], 4), layer.pruned[i]);
    if (layer.not_quantized.empty()) row(layer, "int8", "8", layer.quantized);
  }
  return text;
}

std::string sensitivity_table(const Sensitivity& sensitivity, double level) {
  const auto at = nearest_level(sensitivity, level);
  std::vector<std::vector<std::string>> rows = {
      {"layer", "weights", "loss at " + format_percent(sensitivity.levels[at], 0), "top-1", "loss in INT8"}};
  for (const auto* layer : by_increase(sensitivity, at))
    rows.push_back(
        {layer->name, std::to_string(layer->elements),
         format_change(increase(sensitivity, layer->pruned[at]), 4), format_percent(layer->pruned[at].top1),
         layer->not_quantized.empty() ? format_change(increase(sensitivity, layer->quantized), 4) : ""});
  return format_table(rows);
}

std::string sensitivity_html(const Sensitivity& sensitivity, const std::string& title) {
  const char* const colours[] = {"#c0392b", "#2f6fd6", "#27864a", "#d9a400"};
  const auto at = nearest_level(sensitivity, 0.8);
  const auto layers = by_increase(sensitivity, at);
  double highest = 0.01;
  const auto shown_layers = std::min(layers.size(), std::size(colours));
  for (std::size_t i = 0; i < shown_layers; ++i)
    for (const auto& measured : layers[i]->pruned)
      highest = std::max(highest, increase(sensitivity, measured));
  Chart chart({0, 0}, {100, highest});
  for (std::size_t i = 0; i < shown_layers; ++i) {
    std::vector<Point> points{{0, 0}};
    for (std::size_t level = 0; level < layers[i]->pruned.size(); ++level)
      points.push_back(
          {100 * sensitivity.levels[level], std::max(0.0, increase(sensitivity, layers[i]->pruned[level]))});
    chart.curve(layers[i]->name, colours[i], points, true);
  }
  std::string body =
      "<p>Each layer by itself, pruned by magnitude at once or rounded to INT8, nothing trained, on " +
      std::to_string(sensitivity.dense.images) + " training images. Dense: loss " +
      format_fixed(sensitivity.dense.loss, 4) + ", top-1 " + format_percent(sensitivity.dense.top1) +
      ".</p>\n" + "<h2>Loss increase by sparsity in percent: the most sensitive layers</h2>\n" + chart.svg() +
      "\n<h2>Loss increase of every layer, in the network's order</h2>\n<table><tr><th>layer</th>"
      "<th>weights</th>";
  for (const double level : sensitivity.levels) body += "<th>" + format_percent(level, 0) + "</th>";
  body += "<th>INT8</th></tr>\n";
  for (const auto& layer : sensitivity.layers) {
    body += "<tr><td>" + escape_html(layer.name) + "</td><td class='n'>" + std::to_string(layer.elements) +
            "</td>";
    for (const auto& measured : layer.pruned) body += cell(increase(sensitivity, measured));
    body += layer.not_quantized.empty() ? cell(increase(sensitivity, layer.quantized)) : "<td></td>";
    body += "</tr>\n";
  }
  return html_page(title, body + "</table>\n");
}

}  // namespace sparsify
