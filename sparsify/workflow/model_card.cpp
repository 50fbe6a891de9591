// SPDX-License-Identifier: Apache-2.0
#include "workflow/model_card.hpp"

#include <nlohmann/json.hpp>

#include "sparsify/error.hpp"

namespace sparsify {

using nlohmann::json;

Metadata to_metadata(const ModelCard& card) {
  return {{"model", card.model},
          {"num_classes", std::to_string(card.num_classes)},
          {"image_size", std::to_string(card.image_size)},
          {"normalization", json{{"mean", card.normalization.mean}, {"std", card.normalization.std}}.dump()},
          {"definition", card.definition},
          {"class_names", json(card.class_names).dump()},
          {"anchors", json(card.anchors).dump()},
          {"data", card.data},
          {"recipe_name", card.recipe_name},
          {"recipe", card.recipe_text},
          {"recipe_arguments", json(card.recipe_arguments).dump()},
          {"sparsify_version", SPARSIFY_VERSION}};
}

ModelCard card_from(const Metadata& metadata, const std::string& where) {
  const char* reading = "";
  const auto entry = [&](const char* key) -> const std::string& { return metadata.at(reading = key); };
  ModelCard card;
  try {
    card.model = entry("model");
    card.num_classes = std::stoll(entry("num_classes"));
    card.image_size = std::stoll(entry("image_size"));
    const auto normalization = json::parse(entry("normalization"));
    normalization.at("mean").get_to(card.normalization.mean);
    normalization.at("std").get_to(card.normalization.std);
    if (metadata.count("definition")) card.definition = entry("definition");
    if (metadata.count("class_names")) json::parse(entry("class_names")).get_to(card.class_names);
    if (metadata.count("anchors")) json::parse(entry("anchors")).get_to(card.anchors);
    card.data = entry("data");
    card.recipe_name = entry("recipe_name");
    card.recipe_text = entry("recipe");
    card.recipe_arguments = json::parse(entry("recipe_arguments")).get<RecipeArguments>();
  } catch (const std::exception&) {
    throw Error(where + ": its metadata entry '" + reading +
                "' is missing or damaged; only checkpoints of 'sparsify train' have it");
  }
  return card;
}

}  // namespace sparsify
