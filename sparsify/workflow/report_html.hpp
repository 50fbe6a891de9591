// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace sparsify {

/// One page, everything inside it: the summary's table, sparsity per layer as bars, training curves as SVG.
/// `metrics` holds the columns of metrics.csv, `baseline` the baseline's summary or null.
std::string report_html(const nlohmann::json& summary, const nlohmann::json& baseline,
                        const std::map<std::string, std::vector<double>>& metrics);

}  // namespace sparsify
