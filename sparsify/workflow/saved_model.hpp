// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <torch/torch.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "sparsify/session.hpp"
#include "sparsify/trainers/model.hpp"
#include "sparsify/trainers/dataset.hpp"
#include "workflow/model_card.hpp"

namespace sparsify {

/// A model as training left it, on the CPU in eval mode: weights (the averaged ones where there are), masks,
/// quantizers.
struct SavedModel {
  std::filesystem::path checkpoint;
  ModelCard card;
  Recipe recipe;
  std::shared_ptr<Network> model;
  std::unique_ptr<torch::optim::Optimizer> optimizer{};  ///< the session needs one; it never steps
  std::unique_ptr<Session> session{};
  bool requantized = false;  ///< its quantizers are not those it was trained with

  /// Outputs as the exported model computes them: fp32, quantizers active.
  Outputs forward(const at::Tensor& images) const;
};

/// Opens a run directory (its last checkpoint) or a checkpoint. Throws Error saying what is missing or
/// damaged.
SavedModel open_saved_model(const std::filesystem::path& run_or_checkpoint);

/// Tensors of a weight file: a PyTorch state dict, plain safetensors, or a checkpoint or run directory of
/// ours.
StateDict read_model_weights(const std::filesystem::path& path);

/// What is known of the model whose weights these are; nothing where they are no checkpoint or run directory
/// of `sparsify train`. Throws Error.
std::optional<ModelCard> card_of_weights(const std::filesystem::path& path);

/// The classifier of a saved model; throws Error when it is another kind of network.
std::shared_ptr<Model> classifier_of(const SavedModel& saved);

/// A zoo's model with weights of a file, and the data it is to see; in eval mode.
struct WeightedModel {
  std::shared_ptr<Model> model;
  trainers::Datasets data;
};

/// `image_size` 0: usual for the data. Throws Error saying what does not fit.
WeightedModel open_weights(const std::string& model, const std::filesystem::path& weights,
                           const std::string& data, std::int64_t image_size);

}  // namespace sparsify
