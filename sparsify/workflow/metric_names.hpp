// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace sparsify {

/// How a metric is called in tables: "top-1" for "top1".
inline std::string label_of(const std::string& metric) {
  if (metric == "top1") return "top-1";
  if (metric == "top5") return "top-5";
  if (metric == "map50") return "mAP@0.5";
  if (metric == "map") return "mAP@0.5:0.95";
  if (metric == "f1") return "F1";
  return metric;
}

/// What two networks judged by a metric are compared on.
inline std::string decisions_of(const std::string& metric) { return metric == "top1" ? "images" : "objects"; }

}  // namespace sparsify
