// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "sparsify/detection/confusion_matrix.hpp"

namespace sparsify {

/// What objects are taken for, as SVG: a row for each predicted class, a column for each true one, as shares
/// of the column, and the background last. Shares below 0.005 are left empty.
std::string confusion_matrix_svg(const detection::ConfusionMatrix& confusion,
                                 const std::vector<std::string>& class_names);

}  // namespace sparsify
