// SPDX-License-Identifier: Apache-2.0
#include "workflow/report_html.hpp"

#include <algorithm>
#include <cstdio>

#include <nlohmann/json.hpp>

#include "workflow/summary.hpp"
#include "workflow/table.hpp"

namespace sparsify {
namespace {

using nlohmann::json;

constexpr const char* kStyle =
    "body{font:15px/1.5 system-ui,sans-serif;max-width:900px;margin:2em auto;padding:0 "
    "1em;color:#222;background:#fff}"
    "h1{font-size:1.5em}h2{font-size:1.15em;margin-top:2em}pre{background:#f4f5f7;padding:1em;overflow-x:"
    "auto}"
    "table{border-collapse:collapse;width:100%}td,th{padding:2px 8px;text-align:left}td.n{text-align:right}"
    ".bar{background:#e4e7ec;height:12px;width:100%}.bar div{background:#2f6fd6;height:12px}"
    ".warn{background:#fff3cd;border-left:4px solid #d9a400;padding:.5em 1em}svg{width:100%;height:auto}";

std::string escape(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (c == '&')
      out += "&amp;";
    else if (c == '"')
      out += "&quot;";
    else
      out += c;
  }
  return out;
}

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4g", value);
  return text;
}

struct Curve {
  const char* column;
  const char* label;
  const char* colour;
};

/// Curves over the same axis, drawn in 840 x 240 user units with a frame, ticks and a legend.
class Plot {
 public:
  Plot(double lowest, double highest, std::size_t points)
      : lowest_(lowest), highest_(std::max(highest, lowest + 1e-9)), points_(points) {
    for (int i = 0; i <= 4; ++i) {
      const double value = lowest_ + (highest_ - lowest_) * i / 4;
      svg_ += "<line x1='60' x2='830' y1='" + number(y(value)) + "' y2='" + number(y(value)) +
              "' stroke='#ddd'/><text x='54' y='" + number(y(value) + 4) + "' text-anchor='end'>" +
              number(value) + "</text>";
    }
    const std::size_t step = std::max<std::size_t>(1, (points + 11) / 12);
    for (std::size_t i = 0; i < points; i += step)
      svg_ +=
          "<text x='" + number(x(i)) + "' y='232' text-anchor='middle'>" + std::to_string(i + 1) + "</text>";
  }

  void add(const Curve& curve, const std::vector<double>& values, int position) {
    svg_ += "<polyline fill='none' stroke-width='2' stroke='" + std::string(curve.colour) + "' points='";
    for (std::size_t i = 0; i < values.size(); ++i) svg_ += number(x(i)) + "," + number(y(values[i])) + " ";
    svg_ += "'/>";
    for (std::size_t i = 0; i < values.size(); ++i)
      svg_ += "<circle r='2.5' fill='" + std::string(curve.colour) + "' cx='" + number(x(i)) + "' cy='" +
              number(y(values[i])) + "'/>";
    svg_ += "<text x='" + std::to_string(70 + 190 * position) + "' y='12' fill='" + curve.colour + "'>" +
            curve.label + "</text>";
  }

  std::string svg() const {
    return "<svg viewBox='0 0 840 240' font-size='12' font-family='system-ui,sans-serif' role='img'>" + svg_ +
           "</svg>";
  }

 private:
  double x(std::size_t i) const {
    return points_ > 1 ? 70 + 750.0 * static_cast<double>(i) / static_cast<double>(points_ - 1) : 445;
  }
  double y(double value) const { return 215 - 190 * (value - lowest_) / (highest_ - lowest_); }

  double lowest_, highest_;
  std::size_t points_;
  std::string svg_;
};

std::string plot(const std::map<std::string, std::vector<double>>& metrics, const std::vector<Curve>& curves,
                 bool fractions) {
  double highest = fractions ? 1 : 0;
  std::size_t points = 0;
  for (const auto& curve : curves)
    if (const auto found = metrics.find(curve.column); found != metrics.end())
      for (const double value : found->second)
        highest = std::max(highest, value), points = std::max(points, found->second.size());
  if (points == 0) return "";
  Plot drawing(0, highest, points);
  int position = 0;
  for (const auto& curve : curves)
    if (const auto found = metrics.find(curve.column); found != metrics.end())
      drawing.add(curve, found->second, position++);
  return drawing.svg();
}

std::string layer_rows(const json& summary) {
  std::string rows;
  const auto& unquantized = summary.at("unquantized");
  for (const auto& [name, sparsity] : summary.at("sparsity").at("layers").items()) {
    const auto percent = number(100 * sparsity.get<double>());
    const auto arithmetic =
        unquantized.contains(name) ? "float: " + unquantized.at(name).get<std::string>() : "INT8";
    rows += "<tr><td>" + escape(name) +
            "</td><td style='width:35%'><div class='bar'><div style='width:" + percent +
            "%'></div></div></td><td class='n'>" + percent + " %</td><td>" + escape(arithmetic) +
            "</td></tr>\n";
  }
  return rows;
}

std::string file_rows(const json& summary) {
  std::string rows;
  for (const auto& [name, file] : summary.at("files").items())
    rows += "<tr><td>" + escape(name) + "</td><td class='n'>" +
            format_bytes(file.at("bytes").get<std::int64_t>()) + "</td><td>" +
            escape(file.at("path").get<std::string>()) + "</td></tr>\n";
  return rows;
}

}  // namespace

std::string report_html(const json& summary, const json& baseline,
                        const std::map<std::string, std::vector<double>>& metrics) {
  const auto text = [&](const char* key) { return escape(summary.at(key).get<std::string>()); };
  std::string warnings;
  for (const auto& warning : summary.at("warnings"))
    warnings += "<p class='warn'>" + escape(warning.get<std::string>()) + "</p>\n";
  return "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'><meta name='viewport' "
         "content='width=device-width'>"
         "<title>" +
         text("recipe") + " - sparsify</title><style>" + kStyle + "</style></head><body>\n<h1>" +
         text("recipe") + "</h1>\n<p>" + text("model") + " on " + text("data") + ", " +
         std::to_string(summary.at("epochs").get<int>()) + " epochs</p>\n" + warnings +
         "<h2>Result</h2>\n<pre>" + escape(to_table(summary, baseline)) + "</pre>\n" +
         "<h2>Accuracy and sparsity by epoch</h2>\n" +
         plot(metrics,
              {{"val_top1", "validation top-1", "#2f6fd6"},
               {"train_top1", "training top-1", "#9aa5b5"},
               {"sparsity", "sparsity", "#c0392b"},
               {"quantized", "quantized (0 or 1)", "#27864a"}},
              true) +
         "\n<h2>Loss by epoch</h2>\n" +
         plot(metrics, {{"val_loss", "validation", "#2f6fd6"}, {"train_loss", "training", "#9aa5b5"}},
              false) +
         "\n<h2>Layers</h2>\n<table><tr><th>weight</th><th>sparsity</th><th></th><th>arithmetic</th></tr>\n" +
         layer_rows(summary) + "</table>\n<h2>Files</h2>\n<table>" + file_rows(summary) +
         "</table>\n</body></html>\n";
}

}  // namespace sparsify
