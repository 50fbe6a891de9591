// SPDX-License-Identifier: Apache-2.0
#include "workflow/networks.hpp"

#include "sparsify/detection/detection_task.hpp"
#include "sparsify/trainers/classification.hpp"
#include "workflow/classifiers.hpp"
#include "workflow/detectors.hpp"

namespace sparsify {

std::string describe_data(std::int64_t train, std::int64_t val, const ModelCard& card) {
  return std::to_string(train) + " training and " + std::to_string(val) + " validation images, " +
         std::to_string(card.num_classes) + " classes, " + std::to_string(card.image_size) + " px";
}

OpenedTask open_task(const Settings& settings, bool load,
                     const std::function<void(const std::string&)>& note) {
  return is_detector(settings.model) ? open_detection(settings, load, note)
                                     : open_classification(settings, load, note);
}

std::shared_ptr<Network> build_network(const ModelCard& card) {
  if (is_detector(card.model)) return build_detector(card);
  return build_classifier(card);
}

std::shared_ptr<Network> build_network(const std::string& model) {
  if (is_detector(model)) return build_detector(model);
  return build_model(model);
}

std::string metric_of(const std::string& model) {
  if (is_detector(model)) return detection::DetectionTask::kMetric;
  model_info(model);
  return Classification::kMetric;
}

}  // namespace sparsify
