// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace sparsify {

/// Rows of text as a table with aligned columns, numbers to the right; the first row is the heading.
std::string format_table(const std::vector<std::vector<std::string>>& rows);

/// "a, b, c".
std::string format_list(const std::vector<std::string>& names);
/// As short as six digits permit: "0.05", "1e+06".
std::string format_number(double value);
std::string format_fixed(double value, int digits);
/// With its sign: "+0.25".
std::string format_change(double value, int digits);
std::string format_percent(double fraction, int digits = 2);
/// "1.9 MB", "812 kB".
std::string format_bytes(std::int64_t bytes);
/// "1 h 02 min", "3 min 20 s", "4.2 s".
std::string format_seconds(double seconds);

}  // namespace sparsify
