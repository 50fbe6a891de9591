// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "sparsify/detection/autoanchor.hpp"

namespace sparsify {

/// Tells how well a detector's anchors fit the boxes of a set, and replaces those that do not by others
/// fitted to these, unless `why_kept` says why they have to stay. Call it before the heads are asked for.
void check_anchors(detection::Detector& detector, const detection::DetectionDataset& images,
                   std::int64_t image_size, const detection::AutoAnchorOptions& options,
                   const std::string& why_kept, const std::function<void(const std::string&)>& note);

}  // namespace sparsify
