// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "sparsify/detection/boxes.hpp"

namespace sparsify::detection {

/// An object that is there: corners in pixels.
struct GroundTruth {
  float x1 = 0, y1 = 0, x2 = 0, y2 = 0;
  std::int64_t label = 0;
};

/// At IoU 0.5, each evenly spaced from 0 to 1: at 1000 confidences, of the detections that are at least so
/// sure; and at COCO's 101 recalls, made falling.
struct PrecisionCurves {
  std::vector<double> precision, recall, f1, precision_at_recall;
};

struct ClassPrecision {
  std::int64_t images = 0, objects = 0;      ///< images that show the class
  double precision = 0, recall = 0, f1 = 0;  ///< at DetectionMetrics::confidence
  double ap50 = 0, ap = 0;                   ///< at IoU 0.5; mean over 0.5, 0.55 ... 0.95
  PrecisionCurves curves;
};

/// Means over the classes that have objects.
struct DetectionMetrics {
  double map50 = 0, map = 0;
  double precision = 0, recall = 0, f1 = 0;  ///< at `confidence`, IoU 0.5
  double confidence = 0;                     ///< at which the mean F1 is best
  PrecisionCurves curves;
  std::map<std::int64_t, ClassPrecision> classes;
};

/// How recall is walked through when precision is averaged.
enum class Interpolation {
  kCoco,       ///< at 101 points, as pycocotools
  kAllPoints,  ///< the area under the curve, as Pascal VOC since 2010
};

/// Mean average precision over images: detections, best first, take the object of their class that they
/// overlap most and that is still free (Lin et al. 2014, arXiv 1405.0312). At most `max_det` detections of a
/// class count in an image. Precision, recall and F1 are those at one confidence for all classes, as
/// Ultralytics chooses it: where the mean F1, smoothed, is best.
class AveragePrecision {
 public:
  explicit AveragePrecision(Interpolation interpolation = Interpolation::kCoco, std::int64_t max_det = 100)
      : interpolation_(interpolation), max_det_(max_det) {}

  void add(const std::vector<Detection>& detections, const std::vector<GroundTruth>& objects);
  DetectionMetrics compute() const;

 private:
  static constexpr int kThresholds = 10;
  struct Match {
    float score;
    bool hits[kThresholds];  ///< for every IoU threshold
  };

  struct Present {
    std::int64_t images = 0, objects = 0;
  };
  ClassPrecision judge(std::int64_t label, const Present& present) const;

  Interpolation interpolation_;
  std::int64_t max_det_;
  std::map<std::int64_t, std::vector<Match>> matches_;  ///< by class, in the order they came
  std::map<std::int64_t, Present> present_;
};

}  // namespace sparsify::detection
