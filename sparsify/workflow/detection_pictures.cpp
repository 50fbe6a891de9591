// SPDX-License-Identifier: Apache-2.0
#include "workflow/detection_pictures.hpp"

#include <algorithm>

#include "sparsify/detection/draw.hpp"

namespace sparsify {
namespace {

constexpr std::int64_t kImages = 16, kColumns = 4, kCell = 320;

}  // namespace

std::vector<std::filesystem::path> write_detection_pictures(const detection::DetectionDataset& images,
                                                            const RunnableDetector& detector,
                                                            const std::filesystem::path& folder) {
  std::vector<trainers::Image> labelled, predicted;
  for (std::int64_t i = 0; i < std::min(kImages, images.size()); ++i) {
    const auto image = images.image(i);
    labelled.push_back(detection::draw_boxes(image, images.objects(i), images.class_names()));
    predicted.push_back(detection::draw_boxes(image, detector.find(image), images.class_names()));
  }
  const auto labels = folder / "labels.jpg", predictions = folder / "predictions.jpg";
  detection::write_image(detection::picture_grid(labelled, kColumns, kCell), labels);
  detection::write_image(detection::picture_grid(predicted, kColumns, kCell), predictions);
  return {labels, predictions};
}

}  // namespace sparsify
