// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdlib>
#include <cstring>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "sparsify/error.hpp"
#include "sparsify/quantization/plan.hpp"

namespace sparsify {
namespace detail {

inline std::string exact(double value) {
  char text[40];
  std::snprintf(text, sizeof text, "%.17g", value);
  return text;
}

inline std::vector<std::string> split(const std::string& line, char separator) {
  std::vector<std::string> parts(1);
  for (const char c : line)
    if (c == separator)
      parts.emplace_back();
    else
      parts.back() += c;
  return parts;
}

inline std::string join(const std::vector<std::string>& parts, char separator) {
  std::string line;
  for (const auto& part : parts) line += (line.empty() ? "" : std::string(1, separator)) + part;
  return line;
}

inline std::vector<std::string> list(const std::string& field) {
  return field.empty() ? std::vector<std::string>{} : split(field, ',');
}

inline std::string clip_text(const std::optional<Clip>& clip) {
  return clip ? exact(clip->lowest) + ',' + exact(clip->highest) : "";
}

inline std::optional<Clip> clip_from_text(const std::string& field) {
  if (field.empty()) return std::nullopt;
  const auto ends = list(field);
  if (ends.size() != 2)
    throw Error("saved quantization plan: '" + field +
                "' are not the two ends of a range: saved by another version, or damaged");
  return Clip{std::strtof(ends[0].c_str(), nullptr), std::strtof(ends[1].c_str(), nullptr)};
}

}  // namespace detail

/// A plan as text, one quantizer a line, fields separated by tabs: part of a session's saved state.
inline std::string to_text(const QuantizationPlan& plan) {
  std::ostringstream text;
  text << "scheme\t" << plan.scheme << '\n';
  for (const auto& a : plan.activations)
    text << "activation\t" << a.site << '\t' << a.range.lowest << '\t' << a.range.highest << '\t'
         << a.range.symmetric << '\t' << a.non_negative << '\t' << detail::join(a.shared_sites, ',') << '\t'
         << detail::join(a.carried_sites, ',') << '\t' << detail::join(a.rectified_sums, ',') << '\t'
         << a.returned << '\n';
  for (const auto& w : plan.weights)
    text << "weight\t" << w.site << '\t' << w.input << '\t' << w.output << '\t' << w.batch_norm << '\t'
         << detail::exact(w.eps) << '\t' << w.bias << '\t' << w.bits << '\t' << detail::clip_text(w.clip)
         << '\t' << w.per_tensor << '\n';
  for (const auto& layer : plan.unquantized)
    text << "unquantized\t" << layer.site << '\t' << layer.rule << '\t' << layer.reason << '\n';
  return text.str();
}

/// Reads what to_text wrote; throws Error for anything else.
inline QuantizationPlan plan_from_text(const std::string& text) {
  QuantizationPlan plan;
  for (const auto& line : detail::split(text, '\n')) {
    if (line.empty()) continue;
    const auto f = detail::split(line, '\t');
    const auto integer = [&](std::size_t i) { return std::atoll(f[i].c_str()); };
    if (f[0] == "scheme" && f.size() == 2) {
      plan.scheme = f[1];
    } else if (f[0] == "activation" && f.size() == 10) {
      plan.activations.push_back({f[1],
                                  {integer(2), integer(3), integer(4) != 0},
                                  integer(5) != 0,
                                  detail::list(f[6]),
                                  detail::list(f[7]),
                                  detail::list(f[8]),
                                  integer(9) != 0});
    } else if (f[0] == "weight" && f.size() == 10) {
      plan.weights.push_back({f[1], static_cast<int>(integer(2)), static_cast<int>(integer(3)), f[4],
                              std::atof(f[5].c_str()), f[6], static_cast<int>(integer(7)),
                              detail::clip_from_text(f[8]), integer(9) != 0});
    } else if (f[0] == "unquantized" && f.size() == 4) {
      plan.unquantized.push_back({f[1], f[2], f[3]});
    } else {
      throw Error("saved quantization plan: cannot read the line '" + line + "'");
    }
  }
  const int count = static_cast<int>(plan.activations.size());
  for (const auto& weight : plan.weights)
    if (weight.bits < 2 || weight.bits > 8)
      throw Error("saved quantization plan: the weights of " + weight.site + " have " +
                  std::to_string(weight.bits) + " bits");
  for (const auto& weight : plan.weights)
    if (weight.input < 0 || weight.input >= count || weight.output >= count)
      throw Error("saved quantization plan: " + weight.site + " refers to a quantizer that is not there");
  return plan;
}

}  // namespace sparsify
