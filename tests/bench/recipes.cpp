// SPDX-License-Identifier: Apache-2.0
#include <torch/torch.h>

#include "bench.hpp"
#include "sparsify/modifiers/magnitude_pruning.hpp"
#include "sparsify/modifiers/trainable_params.hpp"
#include "sparsify/session.hpp"
#include "sparsify/trainers/model.hpp"

namespace sparsify::bench {
namespace {

/// A modifier for every parameter by its exact name, as published recipes are written.
Recipe one_modifier_per_parameter(Model& model) {
  Recipe recipe;
  for (const auto& parameter : model.named_parameters()) {
    if (parameter.value().dim() >= 2)
      recipe.add<MagnitudePruning>({.window = {0, 4}, .final_sparsity = 0.8, .params = {parameter.key()}});
    else
      recipe.add<TrainableParams>({.window = {0, 4}, .params = {parameter.key()}});
  }
  return recipe;
}

Record bind() {
  const auto model = build_model("resnext101_32x8d", {});
  torch::optim::SGD optimizer(model->parameters(), 0.1);
  const auto recipe = one_modifier_per_parameter(*model);
  const Recipe empty;
  return compare(
      "recipe/bind",
      "a recipe of " + std::to_string(recipe.entries().size()) +
          " modifiers, one for each parameter, to ResNeXt-101, against an empty one",
      15, [&] { const Session session(recipe, *model, optimizer, 1000); },
      [&] { const Session session(empty, *model, optimizer, 1000); });
}

}  // namespace

std::vector<Comparison> recipe_comparisons() { return {{"recipe/bind", bind}}; }

}  // namespace sparsify::bench
