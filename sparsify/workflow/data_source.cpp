// SPDX-License-Identifier: Apache-2.0
#include "workflow/data_source.hpp"

#include <filesystem>

#include "sparsify/error.hpp"
#include "workflow/detectors.hpp"
#include "workflow/image_data.hpp"

namespace sparsify {

trainers::Datasets open_images_for(const ModelCard& card, const std::string& spec) {
  trainers::DataOptions options;
  options.image_size = card.image_size;
  auto data = trainers::open_datasets(spec, options);
  if (data.val->classes() != card.num_classes)
    throw Error("data '" + spec + "' has " + std::to_string(data.val->classes()) + " classes, the model " +
                std::to_string(card.num_classes));
  data.normalization = card.normalization;
  return data;
}

std::shared_ptr<const DataSource> open_data_for(const ModelCard& card, const std::string& spec,
                                                const std::function<void(const std::string&)>& note) {
  if (is_detector(card.model)) return open_objects_for(card, spec, note);
  return std::make_shared<ImageData>(open_images_for(card, spec));
}

std::string absolute_data(const std::string& spec) {
  std::error_code ignored;
  return std::filesystem::exists(spec, ignored) ? std::filesystem::absolute(spec).lexically_normal().string()
                                                : spec;
}

}  // namespace sparsify
