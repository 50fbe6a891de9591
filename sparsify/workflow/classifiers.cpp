// SPDX-License-Identifier: Apache-2.0
#include "workflow/classifiers.hpp"

#include <torch/torch.h>

#include "sparsify/trainers/classification.hpp"
#include "sparsify/trainers/weights.hpp"
#include "workflow/image_data.hpp"
#include "workflow/input_error.hpp"
#include "workflow/saved_model.hpp"

namespace sparsify {
namespace {

ClassificationOptions options_from(const Settings& settings) {
  ClassificationOptions options;
  options.batch_size = settings.batch_size;
  options.workers = settings.workers;
  options.seed = static_cast<std::uint64_t>(settings.seed);
  options.augment = settings.augment != "none";
  options.label_smoothing = settings.label_smoothing;
  return options;
}

void load_start_weights(Model& model, const Settings& settings,
                        const std::function<void(const std::string&)>& note) {
  const auto& path = settings.weights;
  try {
    const auto report = load_weights(model, read_model_weights(path), {.allow_new_classifier = true});
    std::string fresh;
    for (const auto& name : report.not_loaded)
      if (!name.ends_with("num_batches_tracked")) fresh += (fresh.empty() ? "" : ", ") + name;
    note("loaded " + std::to_string(report.loaded) + " tensors of " + path);
    if (!fresh.empty())
      note("the classifier is new, as the weights' does not fit the data's classes: " + fresh);
  } catch (const Error& error) {
    throw InputError("--weights " + path + " for " + settings.model + ": " + error.what());
  }
}

ModelCard card_of(const Settings& settings, const trainers::Datasets& data) {
  ModelCard card;
  card.model = settings.model;
  card.num_classes = data.train->classes();
  card.image_size = data.image_size;
  card.normalization = data.normalization;
  card.class_names = data.train->class_names();
  card.data = settings.data;
  return card;
}

std::shared_ptr<Model> build(const ModelCard& card) {
  ModelOptions options;
  options.num_classes = card.num_classes;
  options.image_size = card.image_size;
  return build_model(card.model, options);
}

}  // namespace

OpenedTask open_classification(const Settings& settings, bool load,
                               const std::function<void(const std::string&)>& note) {
  trainers::DataOptions data_options;
  data_options.image_size = settings.image_size;
  const auto data = trainers::open_datasets(settings.data, data_options);
  OpenedTask opened;
  opened.card = card_of(settings, data);
  torch::manual_seed(static_cast<std::uint64_t>(settings.seed));
  const auto model = build(opened.card);
  if (load && !settings.weights.empty()) load_start_weights(*model, settings, note);
  opened.task = std::make_shared<Classification>(model, data, options_from(settings));
  opened.data = std::make_shared<ImageData>(data);
  opened.describe = describe_data(data.train->size(), data.val->size(), opened.card);
  return opened;
}

std::shared_ptr<Network> build_classifier(const ModelCard& card) { return build(card); }

}  // namespace sparsify
