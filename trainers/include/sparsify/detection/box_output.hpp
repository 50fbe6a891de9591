// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sparsify/detection/boxes.hpp"
#include "sparsify/detection/detector.hpp"

namespace sparsify::detection {

/// What a detector gives, wherever it runs: how far its file goes.
enum class BoxOutput {
  kRaw,      ///< a map for every head, [N, anchors * (5 + classes), h, w]
  kDecoded,  ///< [N, boxes, 5 + classes], as from `decode`
  kNms,      ///< [N, max_det, 6]: corners in pixels, score, class; best first, zeros behind the last
};

/// "raw", "decoded" or "nms".
std::string name(BoxOutput output);
/// Throws Error for any other word.
BoxOutput parse_box_output(const std::string& name);

/// How a detector's outputs are read.
struct BoxReader {
  std::vector<DetectionHead> heads;
  BoxOutput output = BoxOutput::kRaw;

  /// The objects of every image of a batch of `height` x `width` pixels, best first. What has been through
  /// non-maximum suppression is only cut at the confidence and at `max_det`.
  std::vector<std::vector<Detection>> objects(const Outputs& outputs, std::int64_t height, std::int64_t width,
                                              const NmsOptions& options) const;

  /// Raw maps as `output` has them.
  Outputs from_raw(const Outputs& maps, std::int64_t height, std::int64_t width,
                   const NmsOptions& options) const;
};

}  // namespace sparsify::detection
