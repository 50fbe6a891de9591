// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "workflow/layer_parity.hpp"

namespace sparsify {

/// End to end, then one row a tensor in the order of computation, and the first that differs: for a terminal.
std::string parity_text(const LayerParity& parity);

nlohmann::json parity_json(const LayerParity& parity);

/// A page: the share of different integers along the network as a chart, and all numbers as tables.
std::string parity_html(const LayerParity& parity, const std::string& title);

}  // namespace sparsify
