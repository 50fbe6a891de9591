// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "sparsify/detection/box_output.hpp"
#include "sparsify/detection/confusion_matrix.hpp"
#include "sparsify/detection/dataset.hpp"
#include "sparsify/detection/detector.hpp"
#include "sparsify/detection/hyperparameters.hpp"
#include "sparsify/detection/loader.hpp"
#include "sparsify/detection/loss.hpp"
#include "sparsify/detection/teacher_loss.hpp"
#include "sparsify/trainers/task.hpp"

namespace sparsify::detection {

struct DetectionOptions {
  std::int64_t batch_size = 16;
  std::int64_t image_size = 640;  ///< side of the input in pixels, a multiple of the coarsest head's stride
  std::int64_t workers = 2;       ///< threads that prepare batches
  std::uint64_t seed = 0;
  bool augment = true;
  double multi_scale = 0;  ///< the side of each batch lies within image_size * (1 -+ this)
  /// Batches are gathered until a step has seen this many images, and gradients are summed over them.
  std::int64_t nominal_batch_size = 64;
  Hyperparameters hyp{};
};

/// Hears what a detector found in the image with this index, best first, in pixels of the image.
using HearDetections = std::function<void(std::int64_t image, const std::vector<Detection>& found)>;

/// A pass that knows more of detectors than their figures.
class DetectionValidation : public Validation {
 public:
  virtual const DetectionDataset& data() const = 0;
  virtual DetectionMetrics metrics(std::size_t which) const = 0;
  virtual const ConfusionMatrix& confusion(std::size_t which) const = 0;
  /// Calls `hear` for every image that is added from now on for detector `which`.
  virtual void listen(std::size_t which, HearDetections hear) = 0;
};

/// Judges what a detector gives over a set's validation part: "map50", "map", "precision", "recall" and "f1",
/// of boxes with a score above 0.001, after non-maximum suppression at an IoU of 0.6. Images are letterboxed
/// into a square; with a `stride`, those of like shape come together, in sides that are no larger multiples
/// of it than they need: pass Detector::largest_stride. Two detectors decide the same where they find boxes
/// of one class, with a score of 0.25 or more, that overlap by at least 0.9. Throws Error for an image size
/// that is no multiple of the stride.
std::unique_ptr<DetectionValidation> detection_validation(std::shared_ptr<const DetectionDataset> images,
                                                          BoxReader reader, std::int64_t image_size,
                                                          std::int64_t batch_size, std::int64_t workers,
                                                          std::int64_t stride = 0);

/// Training images, letterboxed, to calibrate on.
std::unique_ptr<CalibrationImages> calibration_images(std::shared_ptr<const DetectionDataset> images,
                                                      std::int64_t image_size, std::int64_t batch_size,
                                                      std::int64_t workers);

/// Boxes around objects: the loss of the YOLO family, measured by mean average precision.
class DetectionTask : public Task {
 public:
  /// Throws Error for options outside their range, and for labels that the detector has no class for.
  DetectionTask(std::shared_ptr<Detector> detector, DetectionDatasets data, const DetectionOptions& options);

  Network& network() override { return *detector_; }
  std::int64_t batches() const override { return loader_.steps_per_epoch(); }
  std::int64_t batches_per_step() const override;
  void start_epoch(std::int64_t epoch, std::int64_t first_batch) override;
  std::optional<torch::Tensor> next_batch() override;
  torch::Tensor loss(const Outputs& outputs) override;
  Figures loss_figures() const override { return figures_; }
  /// TeacherLoss.
  Distillation::Divergence divergence() override;
  double loss_scale() const override { return static_cast<double>(batch_.images.size(0)); }
  std::unique_ptr<CalibrationImages> calibration_images(std::int64_t batch_size,
                                                        std::int64_t workers) const override;
  std::unique_ptr<Validation> validation() const override;
  static constexpr const char* kMetric = "map50";
  std::string metric() const override { return kMetric; }

  const Detector& detector() const { return *detector_; }
  const DetectionDatasets& data() const { return data_; }

 private:
  std::shared_ptr<Detector> detector_;
  DetectionDatasets data_;
  DetectionOptions options_;
  DetectionLoader loader_;
  DetectionLoss loss_;
  TeacherLoss teacher_loss_;
  DetectionBatch batch_;
  Figures figures_;
};

}  // namespace sparsify::detection
