// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sparsify/detection/anchors.hpp"
#include "sparsify/detection/box_output.hpp"
#include "sparsify/load_recipe.hpp"
#include "sparsify/trainers/transforms.hpp"
#include "sparsify/trainers/weights.hpp"

namespace sparsify {

/// What a checkpoint says about itself, so that it can be validated, exported and inspected without its run
/// directory.
struct ModelCard {
  std::string model;
  std::string definition{};  ///< text of the file that describes the model; empty for those of our own
  std::int64_t num_classes = 0, image_size = 0;
  trainers::Normalization normalization{};
  std::vector<std::string> class_names{};                   ///< empty in files of earlier versions
  detection::BoxOutput boxes = detection::BoxOutput::kRaw;  ///< what a detector's file gives
  /// Of each head of a detector, in pixels; empty in files of earlier versions, which have the definition's.
  std::vector<detection::Anchors> anchors{};
  std::string data;
  std::string recipe_name, recipe_text;
  RecipeArguments recipe_arguments{};
};

Metadata to_metadata(const ModelCard& card);
/// Throws Error naming `where` and the entry that is missing or damaged.
ModelCard card_from(const Metadata& metadata, const std::string& where);

}  // namespace sparsify
