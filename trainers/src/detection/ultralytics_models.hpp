// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>

namespace sparsify::detection {

/// Texts of the models that come with this library, by name: YOLOv3 (Redmon & Farhadi 2018, arXiv 1804.02767)
/// in Ultralytics' arrangement.
const std::map<std::string, std::string>& ultralytics_models();

}  // namespace sparsify::detection
