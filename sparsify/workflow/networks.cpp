// SPDX-License-Identifier: Apache-2.0
#include "workflow/networks.hpp"

#include "sparsify/trainers/model.hpp"
#include "workflow/classifiers.hpp"

namespace sparsify {

OpenedTask open_task(const Settings& settings, bool load,
                     const std::function<void(const std::string&)>& note) {
  return open_classification(settings, load, note);
}

std::shared_ptr<Network> build_network(const ModelCard& card) { return build_classifier(card); }

std::string metric_of(const std::string& model) {
  model_info(model);
  return "top1";
}

}  // namespace sparsify
