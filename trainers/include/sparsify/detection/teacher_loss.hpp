// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

#include "sparsify/detection/loss.hpp"

namespace sparsify::detection {

/// How far a detector's maps are from a teacher's, in the terms and with the gains of DetectionLoss, so that
/// the two can be mixed. Objectness-scaled distillation (Mehta and Ozturk 2018, arXiv 1805.06361): boxes and
/// classes count by the objectness w that the teacher gives their cell. With KL of Bernoulli variables, of
/// logits divided by the temperature T:
///   obj = mean over cells of T^2 KL(teacher || student)
///   cls = sum of w T^2 (mean over classes of KL) / sum of w, 0 with one class
///   box = sum of w (1 - CIoU) / sum of w
/// Nothing but the maps is looked at: no labels, no matching.
class TeacherLoss {
 public:
  TeacherLoss(std::vector<DetectionHead> heads, const Hyperparameters& hyp);

  /// Raw maps of heads of the same anchors and coding, any float type; gradients reach the student's alone.
  /// `height`, `width`: of the images, in pixels. Throws Error unless each has a map for every head.
  Losses operator()(const Maps& student, const Maps& teacher, double temperature, std::int64_t height,
                    std::int64_t width) const;

 private:
  std::vector<DetectionHead> heads_;
  Hyperparameters hyp_;
};

}  // namespace sparsify::detection
