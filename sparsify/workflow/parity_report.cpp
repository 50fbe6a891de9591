// SPDX-License-Identifier: Apache-2.0
#include "workflow/parity_report.hpp"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "workflow/chart.hpp"
#include "workflow/html.hpp"
#include "workflow/metric_names.hpp"
#include "workflow/table.hpp"

namespace sparsify {
namespace {

using nlohmann::json;
using Rows = std::vector<std::vector<std::string>>;

Rows end_to_end(const LayerParity& parity) {
  const auto& whole = parity.whole;
  const auto metric = label_of(whole.metric);
  return {{"", "value"},
          {"images", std::to_string(whole.engine.images)},
          {metric + ", fake-quantized model (fp32)", format_percent(whole.trained_metric())},
          {metric + ", " + parity.engine, format_percent(whole.engine_metric())},
          {"equal decisions", format_percent(whole.agreement)},
          {"largest difference of an output", format_number(whole.max_difference)},
          {"mean difference of an output", format_number(whole.mean_difference)}};
}

Rows by_tensor(const LayerParity& parity) {
  Rows rows = {{"tensor, in order of computation", "integers", "different", "largest, steps", "SNR, dB"}};
  for (const auto& tensor : parity.tensors)
    rows.push_back({tensor.site, std::to_string(tensor.elements), format_percent(tensor.share(), 4),
                    std::to_string(tensor.largest),
                    std::isinf(tensor.snr()) ? "exact" : format_fixed(tensor.snr(), 1)});
  return rows;
}

std::string first_difference(const LayerParity& parity) {
  const auto* first = parity.first_different();
  return first ? "first tensor that differs: " + first->site : "no integer differs";
}

std::string html_table(const Rows& rows) {
  std::string html = "<table>";
  for (std::size_t r = 0; r < rows.size(); ++r) {
    html += "<tr>";
    for (std::size_t i = 0; i < rows[r].size(); ++i)
      html += (r == 0   ? "<th>"
               : i == 0 ? "<td>"
                        : "<td class='n'>") +
              escape_html(rows[r][i]) + (r == 0 ? "</th>" : "</td>");
    html += "</tr>\n";
  }
  return html + "</table>\n";
}

std::string along_the_network(const LayerParity& parity) {
  std::vector<Point> points;
  double highest = 0.01;
  for (const auto& tensor : parity.tensors) {
    points.push_back({static_cast<double>(points.size() + 1), 100 * tensor.share()});
    highest = std::max(highest, points.back().y);
  }
  Chart chart({1, 0}, {static_cast<double>(points.size()), highest});
  chart.curve("different integers, percent", "#2f6fd6", points, true);
  return chart.svg();
}

std::string about_tensors(const LayerParity& parity) {
  return "Tensors of the first " + std::to_string(parity.images) +
         " images; a step is one integer of the tensor's quantizer.";
}

}  // namespace

std::string parity_text(const LayerParity& parity) {
  std::string text = format_table(end_to_end(parity)) + "\n" + format_table(by_tensor(parity)) +
                     about_tensors(parity) + "\n" + first_difference(parity) + "\n";
  return text;
}

json parity_json(const LayerParity& parity) {
  json tensors = json::array();
  for (const auto& tensor : parity.tensors)
    tensors.push_back({{"site", tensor.site},
                       {"integers", tensor.elements},
                       {"different", tensor.different},
                       {"share", tensor.share()},
                       {"largest", tensor.largest},
                       {"snr", std::isinf(tensor.snr()) ? json(nullptr) : json(tensor.snr())}});
  const auto* first = parity.first_different();
  const auto& whole = parity.whole;
  return {{"engine", parity.engine},
          {"target", parity.target},
          {"images", whole.engine.images},
          {"metric", whole.metric},
          {"trained", whole.trained_metric()},
          {"final", whole.engine_metric()},
          {"agreement", whole.agreement},
          {"max_difference", whole.max_difference},
          {"mean_difference", whole.mean_difference},
          {"tensor_images", parity.images},
          {"first_different", first ? json(first->site) : json(nullptr)},
          {"tensors", tensors}};
}

std::string parity_html(const LayerParity& parity, const std::string& title) {
  return html_page(
      title, "<p>The file exported for " + parity.target + " engines, in " + escape_html(parity.engine) +
                 ", beside the fake-quantized model.</p>\n" + html_table(end_to_end(parity)) +
                 "<h2>Different integers along the network, in percent</h2>\n" + along_the_network(parity) +
                 "\n<p>" + about_tensors(parity) + " " + escape_html(first_difference(parity)) + ".</p>\n" +
                 html_table(by_tensor(parity)));
}

}  // namespace sparsify
