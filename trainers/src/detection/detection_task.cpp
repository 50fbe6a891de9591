// SPDX-License-Identifier: Apache-2.0
#include "sparsify/detection/detection_task.hpp"

#include <algorithm>
#include <cmath>

#include "sparsify/error.hpp"
#include "training/endless_images.hpp"

namespace sparsify::detection {
namespace {

// The side of the heads' largest cells, in pixels: of a detector that was put together by hand, all that is
// known.
std::int64_t coarsest_stride(const std::vector<DetectionHead>& heads) {
  double stride = 1;
  for (const auto& head : heads) stride = std::max(stride, head.stride);
  return std::llround(stride);
}

DetectionLoaderOptions training(const Detector& detector, const DetectionDatasets& data,
                                const DetectionOptions& options) {
  if (options.nominal_batch_size < 1) throw Error("nominal_batch_size: expected at least 1");
  auto loading = in_order(options.image_size, options.batch_size, options.workers);
  loading.stride = std::max(detector.largest_stride, coarsest_stride(detector.heads()));
  loading.shuffle = true;
  loading.drop_last = data.train->size() >= options.batch_size;
  loading.augment = options.augment;
  loading.hyp = options.hyp;
  loading.multi_scale = options.multi_scale;
  loading.seed = options.seed;
  return loading;
}

void check_classes(const Detector& detector, const DetectionDatasets& data) {
  for (const auto& head : detector.heads())
    if (head.classes != data.train->classes())
      throw Error("the data has " + std::to_string(data.train->classes()) + " classes, the detector " +
                  std::to_string(head.classes));
}

}  // namespace

std::unique_ptr<CalibrationImages> calibration_images(std::shared_ptr<const DetectionDataset> images,
                                                      std::int64_t image_size, std::int64_t batch_size,
                                                      std::int64_t workers) {
  auto loading = in_order(image_size, batch_size, workers);
  loading.shuffle = true;
  return std::make_unique<EndlessImages<DetectionLoader>>(std::move(images), loading);
}

DetectionTask::DetectionTask(std::shared_ptr<Detector> detector, DetectionDatasets data,
                             const DetectionOptions& options)
    : detector_(std::move(detector)),
      data_((check_classes(*detector_, data), std::move(data))),
      options_(options),
      loader_(data_.train, training(*detector_, data_, options_)),
      loss_(detector_->heads(), options_.hyp),
      teacher_loss_(detector_->heads(), options_.hyp) {}

std::int64_t DetectionTask::batches_per_step() const {
  const auto wanted = std::llround(static_cast<double>(options_.nominal_batch_size) /
                                   static_cast<double>(options_.batch_size));
  return std::clamp<std::int64_t>(wanted, 1, batches());
}

void DetectionTask::start_epoch(std::int64_t epoch, std::int64_t first_batch) {
  // A checkpoint may have brought other anchors.
  loss_ = DetectionLoss(detector_->heads(), options_.hyp);
  teacher_loss_ = TeacherLoss(detector_->heads(), options_.hyp);
  loader_.start_epoch(epoch, first_batch);
}

std::optional<torch::Tensor> DetectionTask::next_batch() {
  auto batch = loader_.next();
  if (!batch) return std::nullopt;
  batch_ = std::move(*batch);
  return batch_.images;
}

torch::Tensor DetectionTask::loss(const Outputs& outputs) {
  const auto losses = loss_(outputs, batch_.targets.to(outputs.front().device()), batch_.images.size(2),
                            batch_.images.size(3));
  figures_ = {{"box", losses.box.item<double>()},
              {"obj", losses.obj.item<double>()},
              {"cls", losses.cls.item<double>()}};
  return losses.total;
}

Distillation::Divergence DetectionTask::divergence() {
  return [this](const Outputs& student, const Outputs& teacher, double temperature) {
    return teacher_loss_(student, teacher, temperature, batch_.images.size(2), batch_.images.size(3)).total;
  };
}

std::unique_ptr<CalibrationImages> DetectionTask::calibration_images(std::int64_t batch_size,
                                                                     std::int64_t workers) const {
  return detection::calibration_images(data_.train, options_.image_size, batch_size, workers);
}

std::unique_ptr<Validation> DetectionTask::validation() const {
  return detection_validation(data_.val, {detector_->heads()}, options_.image_size, options_.batch_size,
                              options_.workers);
}

}  // namespace sparsify::detection
