// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "sparsify/detection/average_precision.hpp"

namespace sparsify {

/// What Ultralytics prints of a detector: a row for all classes and one for each that has objects. `images`:
/// in all.
std::string class_table(const detection::DetectionMetrics& metrics, std::int64_t images,
                        const std::vector<std::string>& class_names);

/// The same rows, but the first.
nlohmann::json class_json(const detection::DetectionMetrics& metrics,
                          const std::vector<std::string>& class_names);

}  // namespace sparsify
