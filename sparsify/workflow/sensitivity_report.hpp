// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "workflow/sensitivity.hpp"

namespace sparsify {

/// One row a measurement: layer, elements, what ("sparsity" or "int8"), level, loss, loss_increase, top1.
std::string sensitivity_csv(const Sensitivity& sensitivity);

/// Layers from the most to the least sensitive at one level: loss increases, for a terminal.
std::string sensitivity_table(const Sensitivity& sensitivity, double level);

/// A page: loss by sparsity of the most sensitive layers, and all measurements as a coloured table.
std::string sensitivity_html(const Sensitivity& sensitivity, const std::string& title);

}  // namespace sparsify
