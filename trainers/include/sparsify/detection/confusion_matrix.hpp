// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "sparsify/detection/average_precision.hpp"

namespace sparsify::detection {

/// Which class the objects of a class are taken for, as Ultralytics counts: of the detections with a score
/// above 0.25, each is given the object of any class that it overlaps most, by an IoU above 0.45, and each
/// object keeps the best of them. What is left over is of the background.
class ConfusionMatrix {
 public:
  explicit ConfusionMatrix(std::int64_t classes);

  /// Labels are below `classes`.
  void add(const std::vector<Detection>& detections, const std::vector<GroundTruth>& objects);

  std::int64_t classes() const { return background_; }
  /// `classes()` stands for the background: an object that was missed, a detection where there is none.
  std::int64_t count(std::int64_t predicted, std::int64_t truth) const;
  /// As a share of all that is `truth`, 0 to 1.
  double share(std::int64_t predicted, std::int64_t truth) const;

 private:
  std::size_t place(std::int64_t predicted, std::int64_t truth) const;

  std::int64_t background_;
  std::vector<std::int64_t> counts_;  ///< rows of the predicted
};

}  // namespace sparsify::detection
