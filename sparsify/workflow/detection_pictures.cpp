// SPDX-License-Identifier: Apache-2.0
#include "workflow/detection_pictures.hpp"

#include <torch/torch.h>

#include <algorithm>

#include "sparsify/detection/draw.hpp"

namespace sparsify {
namespace {

constexpr std::int64_t kImages = 16, kColumns = 4, kCell = 320;

}  // namespace

void write_detection_pictures(const detection::DetectionTask& task, const Forward& forward,
                              const std::filesystem::path& labels, const std::filesystem::path& predictions) {
  const torch::NoGradGuard no_grad;
  const auto& images = *task.data().val;
  std::vector<trainers::Image> labelled, predicted;
  for (std::int64_t i = 0; i < std::min(kImages, images.size()); ++i) {
    const auto image = images.image(i);
    const auto input = detection::letterboxed(image, task.options().image_size);
    const auto boxes = detection::decode(forward(input.pixels), task.detector().heads(), input.pixels.size(2),
                                         input.pixels.size(3));
    const auto found = detection::to_image(detection::non_max_suppression(boxes[0].cpu()), input.placement);
    labelled.push_back(detection::draw_boxes(image, images.objects(i), images.class_names()));
    predicted.push_back(detection::draw_boxes(image, found, images.class_names()));
  }
  detection::write_image(detection::picture_grid(labelled, kColumns, kCell), labels);
  detection::write_image(detection::picture_grid(predicted, kColumns, kCell), predictions);
}

}  // namespace sparsify
