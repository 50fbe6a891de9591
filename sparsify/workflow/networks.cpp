// SPDX-License-Identifier: Apache-2.0
#include "workflow/networks.hpp"

#include <algorithm>

#include "sparsify/detection/detection_task.hpp"
#include "sparsify/detection/ultralytics.hpp"
#include "sparsify/suggest.hpp"
#include "sparsify/trainers/classification.hpp"
#include "workflow/classifiers.hpp"
#include "workflow/detectors.hpp"
#include "workflow/table.hpp"

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

void check_known(const std::string& model) {
  if (is_detector(model)) return;
  auto names = model_names();
  if (std::find(names.begin(), names.end(), model) != names.end()) return;
  const auto detectors = detection::builtin_ultralytics_models();
  const auto known = "Known are " + format_list(names) + "; of detectors " + format_list(detectors);
  names.insert(names.end(), detectors.begin(), detectors.end());
  const auto hint = suggestion(model, names);
  throw Error("model '" + model + "' is not known" + (hint.empty() ? "." : hint) + " " + known +
              ", and those that a .cfg or .yaml file describes");
}

std::string metric_of(const std::string& model) {
  check_known(model);
  return is_detector(model) ? detection::DetectionTask::kMetric : Classification::kMetric;
}

}  // namespace sparsify
