// SPDX-License-Identifier: Apache-2.0
#include "workflow/table.hpp"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdint>
#include <cstdio>

namespace sparsify {
namespace {

template <class... Values>
std::string print(const char* format, Values... values) {
  char text[64];
  std::snprintf(text, sizeof text, format, values...);
  return text;
}

bool is_number(const std::string& text) {
  return std::isdigit(static_cast<unsigned char>(text[0])) ||
         (text.size() > 1 && (text[0] == '-' || text[0] == '+'));
}

}  // namespace

std::string format_table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths;
  std::vector<bool> numbers;  // columns that hold nothing else
  for (std::size_t r = 0; r < rows.size(); ++r)
    for (std::size_t i = 0; i < rows[r].size(); ++i) {
      if (widths.size() <= i) widths.push_back(0), numbers.push_back(i > 0);
      widths[i] = std::max(widths[i], rows[r][i].size());
      if (r > 0 && !rows[r][i].empty() && !is_number(rows[r][i])) numbers[i] = false;
    }
  std::string text;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    std::string line;
    for (std::size_t i = 0; i < rows[r].size(); ++i) {
      const std::string padding(widths[i] - rows[r][i].size(), ' ');
      if (i > 0) line += "  ";
      line += numbers[i] ? padding + rows[r][i] : rows[r][i] + padding;
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
    if (r > 0) continue;
    for (std::size_t i = 0; i < widths.size(); ++i) text += (i > 0 ? "  " : "") + std::string(widths[i], '-');
    text += "\n";
  }
  return text;
}

std::string format_list(const std::vector<std::string>& names) {
  std::string text;
  for (const auto& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

std::string format_number(double value) { return print("%g", value); }

std::string format_fixed(double value, int digits) { return print("%.*f", digits, value); }

std::string format_change(double value, int digits) { return print("%+.*f", digits, value); }

std::string format_percent(double fraction, int digits) { return print("%.*f %%", digits, 100 * fraction); }

std::string format_bytes(std::int64_t bytes) {
  if (bytes < 10'000) return print("%lld B", static_cast<long long>(bytes));
  if (bytes < 1'000'000) return print("%.0f kB", static_cast<double>(bytes) / 1e3);
  return print("%.1f MB", static_cast<double>(bytes) / 1e6);
}

std::string format_seconds(double seconds) {
  if (seconds < 60) return print("%.1f s", seconds);
  const auto whole = std::llround(seconds);
  if (whole < 3600) return print("%lld min %02lld s", whole / 60, whole % 60);
  return print("%lld h %02lld min", whole / 3600, whole % 3600 / 60);
}

}  // namespace sparsify
