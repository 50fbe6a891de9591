// SPDX-License-Identifier: Apache-2.0
#include "sparsify/detection/detection_task.hpp"

#include <algorithm>

#include "sparsify/detection/average_precision.hpp"
#include "sparsify/detection/boxes.hpp"

namespace sparsify::detection {
namespace {

// As Ultralytics measures: every box that might be one, of all its classes.
constexpr NmsOptions kMeasured{.confidence = 0.001, .iou = 0.6, .multi_label = true};
// What a user would be shown.
constexpr NmsOptions kShown{.confidence = 0.25, .iou = 0.45};
constexpr double kSameBox = 0.9;

// Objects of `a` that `b` has as well; each of `b` counts once.
std::int64_t found_in_both(const std::vector<Detection>& a, std::vector<Detection> b) {
  std::int64_t equal = 0;
  for (const auto& object : a) {
    const auto same = std::find_if(b.begin(), b.end(), [&](const Detection& other) {
      return other.label == object.label && iou(other, object) >= kSameBox;
    });
    if (same == b.end()) continue;
    b.erase(same);
    ++equal;
  }
  return equal;
}

class DetectionPass : public DetectionValidation {
 public:
  DetectionPass(std::shared_ptr<const DetectionDataset> images, BoxReader reader,
                const DetectionLoaderOptions& loading)
      : images_(std::move(images)), reader_(std::move(reader)), loader_(images_, loading) {
    loader_.start_epoch(0);
  }
  std::int64_t images() const override { return images_->size(); }
  std::optional<torch::Tensor> next() override {
    auto batch = loader_.next();
    if (!batch) return std::nullopt;
    batch_ = std::move(*batch);
    return batch_.images;
  }
  void add(std::size_t which, const Outputs& outputs) override {
    auto& judged = judged_of(which);
    const auto found_in = objects(outputs, kMeasured);
    for (std::size_t i = 0; i < batch_.indices.size(); ++i) {
      const auto index = batch_.indices[i];
      const auto found = to_image(found_in.at(i), batch_.placements[i]);
      judged.precision.add(found, images_->objects(index));
      judged.confusion.add(found, images_->objects(index));
      if (judged.hear) judged.hear(index, found);
      ++judged.images;
    }
  }
  Evaluation result(std::size_t which) const override {
    const auto found = metrics(which);
    return {judged_.at(which).images,
            {{"map50", found.map50},
             {"map", found.map},
             {"precision", found.precision},
             {"recall", found.recall},
             {"f1", found.f1}}};
  }
  const DetectionDataset& data() const override { return *images_; }
  DetectionMetrics metrics(std::size_t which) const override { return judged_.at(which).precision.compute(); }
  const ConfusionMatrix& confusion(std::size_t which) const override { return judged_.at(which).confusion; }
  void listen(std::size_t which, HearDetections hear) override { judged_of(which).hear = std::move(hear); }
  std::string metric() const override { return DetectionTask::kMetric; }
  Equal compare(const Outputs& a, const Outputs& b) const override {
    const auto found_a = objects(a, kShown), found_b = objects(b, kShown);
    Equal equal;
    for (std::size_t i = 0; i < found_a.size(); ++i) {
      equal.equal += 2 * static_cast<double>(found_in_both(found_a[i], found_b.at(i)));
      equal.of += static_cast<double>(found_a[i].size() + found_b[i].size());
    }
    return equal;
  }

 private:
  struct Judged {
    std::int64_t images = 0;
    AveragePrecision precision{Interpolation::kCoco, kMeasured.max_det};
    ConfusionMatrix confusion;
    HearDetections hear{};
  };

  Judged& judged_of(std::size_t which) {
    while (judged_.size() <= which) judged_.push_back({.confusion = ConfusionMatrix(images_->classes())});
    return judged_[which];
  }

  std::vector<std::vector<Detection>> objects(const Outputs& outputs, const NmsOptions& options) const {
    return reader_.objects(outputs, batch_.images.size(2), batch_.images.size(3), options);
  }

  std::shared_ptr<const DetectionDataset> images_;
  BoxReader reader_;
  DetectionLoader loader_;
  DetectionBatch batch_;
  std::vector<Judged> judged_;
};

}  // namespace

std::unique_ptr<DetectionValidation> detection_validation(std::shared_ptr<const DetectionDataset> images,
                                                          BoxReader reader, std::int64_t image_size,
                                                          std::int64_t batch_size, std::int64_t workers,
                                                          std::int64_t stride) {
  auto loading = in_order(image_size, batch_size, workers);
  if (stride > 0) loading.rectangular = true, loading.stride = stride;
  return std::make_unique<DetectionPass>(std::move(images), std::move(reader), loading);
}

}  // namespace sparsify::detection
