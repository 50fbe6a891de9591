// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "sparsify/detection/dataset.hpp"
#include "sparsify/detection/detector.hpp"

namespace sparsify::detection {

/// Width and height in pixels of the network's input, of a box or an anchor.
using BoxSizes = std::vector<std::pair<double, double>>;

struct AutoAnchorOptions {
  double anchor_t = 4;               ///< as Hyperparameters::anchor_t
  double enough = 0.98;              ///< anchors with this best possible recall stay as they are
  std::int64_t iterations = 30;      ///< of k-means
  std::int64_t generations = 1000;   ///< of the genetic refinement
  std::int64_t refined_on = 20'000;  ///< boxes that judge a generation, drawn evenly: bounds the time
  std::uint64_t seed = 0;
};

/// The sizes of a set's boxes where its images' longer sides become `image_size` pixels. Boxes with a side
/// of 2 pixels or less are left out, as augmentation leaves them out.
BoxSizes box_sizes(const DetectionDataset& dataset, std::int64_t image_size);

/// Those of all heads, one after the other.
BoxSizes all_anchors(const std::vector<DetectionHead>& heads);

/// The part of boxes, from 0 to 1, that at least one anchor fits: whose sides differ from its by a factor
/// below `anchor_t`. 1 without boxes.
double best_possible_recall(const BoxSizes& boxes, const BoxSizes& anchors, double anchor_t);

/// `count` anchors for these boxes, smallest area first: k-means of the sides' logarithms, then random
/// mutations that are kept when boxes' sides come nearer to those of their best anchors. The same seed gives
/// the same anchors. Throws Error for fewer boxes than anchors, sides that are not positive and options
/// outside their range.
BoxSizes find_anchors(const BoxSizes& boxes, std::int64_t count, const AutoAnchorOptions& options = {});

/// The heads with anchors for these boxes, small ones for small strides whatever the heads' order; the heads
/// as they are where their anchors' recall is enough, or found ones have no better recall. Throws as
/// find_anchors, and for heads without a stride.
std::vector<DetectionHead> fit_anchors(std::vector<DetectionHead> heads, const BoxSizes& boxes,
                                       const AutoAnchorOptions& options = {});

}  // namespace sparsify::detection
