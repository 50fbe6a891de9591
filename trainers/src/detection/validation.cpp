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

class DetectionPass : public Validation {
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
    if (judged_.size() <= which) judged_.resize(which + 1);
    auto& judged = judged_[which];
    const auto found = objects(outputs, kMeasured);
    for (std::size_t i = 0; i < batch_.indices.size(); ++i) {
      judged.precision.add(to_image(found.at(i), batch_.placements[i]), images_->objects(batch_.indices[i]));
      ++judged.images;
    }
  }
  Evaluation result(std::size_t which) const override {
    const auto& judged = judged_.at(which);
    const auto metrics = judged.precision.compute();
    return {judged.images, {{"map50", metrics.map50}, {"map", metrics.map}}};
  }
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
  };

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

std::unique_ptr<Validation> detection_validation(std::shared_ptr<const DetectionDataset> images,
                                                 BoxReader reader, std::int64_t image_size,
                                                 std::int64_t batch_size, std::int64_t workers) {
  return std::make_unique<DetectionPass>(std::move(images), std::move(reader),
                                         in_order(image_size, batch_size, workers));
}

}  // namespace sparsify::detection
