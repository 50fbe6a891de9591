// SPDX-License-Identifier: Apache-2.0
#include "workflow/saved_model.hpp"

#include "sparsify/trainers/checkpoint.hpp"
#include "sparsify/trainers/optimizers.hpp"
#include "sparsify/trainers/weights.hpp"
#include "workflow/networks.hpp"
#include "workflow/run_directory.hpp"

namespace sparsify {
namespace {

namespace fs = std::filesystem;

fs::path checkpoint_of(const fs::path& path) {
  std::error_code ignored;
  if (!fs::exists(path, ignored)) throw Error(path.string() + ": no such run directory or checkpoint");
  if (!fs::is_directory(path, ignored)) return path;
  const auto last = RunDirectory(path).last();
  if (!fs::exists(last, ignored))
    throw Error(path.string() +
                ": this folder holds no checkpoints/last.safetensors; is it a run directory?");
  return last;
}

bool is_ours(const fs::path& weights) {
  std::error_code ignored;
  return fs::is_directory(weights, ignored) ||
         (weights.extension() == ".safetensors" &&
          read_safetensors_metadata(weights).count("sparsify.checkpoint") > 0);
}

/// What is deployed: the averaged weights where there are.
StateDict deployed(const Checkpoint& checkpoint) {
  auto weights = checkpoint.model;
  for (const auto& [name, tensor] : checkpoint.ema) weights[name] = tensor.to(weights.at(name).scalar_type());
  return weights;
}

}  // namespace

Outputs SavedModel::forward(const at::Tensor& images) const {
  torch::NoGradGuard no_grad;
  return session->evaluate([&] { return model->outputs(images); });
}

SavedModel open_saved_model(const fs::path& run_or_checkpoint) {
  SavedModel saved;
  saved.checkpoint = checkpoint_of(run_or_checkpoint);
  const auto where = saved.checkpoint.string();
  const auto checkpoint = load_checkpoint(saved.checkpoint);
  saved.card = card_from(checkpoint.metadata, where);
  saved.recipe =
      parse_recipe(saved.card.recipe_text, where + " (recipe)", saved.card.recipe_arguments).recipe;
  saved.model = build_network(saved.card);
  load_weights(*saved.model, deployed(checkpoint));
  use_channels_last(*saved.model);
  saved.model->eval();
  saved.optimizer = make_optimizer(*saved.model, {});
  const auto steps = checkpoint.session.find("steps_per_epoch");
  if (steps == checkpoint.session.end()) throw Error(where + ": holds no session; is the file damaged?");
  saved.session = std::make_unique<Session>(saved.recipe, *saved.model, *saved.optimizer,
                                            steps->second.item<std::int64_t>());
  saved.session->load_state_dict(checkpoint.session);
  return saved;
}

StateDict read_model_weights(const fs::path& path) {
  return is_ours(path) ? deployed(load_checkpoint(checkpoint_of(path))) : read_weights(path);
}

std::optional<ModelCard> card_of_weights(const fs::path& path) {
  if (!is_ours(path)) return std::nullopt;
  const auto metadata = read_safetensors_metadata(checkpoint_of(path));
  if (!metadata.count("sparsify_version")) return std::nullopt;
  return card_from(metadata, path.string());
}

std::shared_ptr<Model> classifier_of(const SavedModel& saved) {
  if (auto model = std::dynamic_pointer_cast<Model>(saved.model)) return model;
  throw Error(saved.checkpoint.string() + ": " + saved.card.model + " is no classifier");
}

WeightedModel open_weights(const std::string& model, const fs::path& weights, const std::string& data,
                           std::int64_t image_size) {
  check_known(model);
  trainers::DataOptions data_options;
  data_options.image_size = image_size;
  WeightedModel opened;
  opened.data = trainers::open_datasets(data, data_options);
  ModelOptions options;
  options.num_classes = opened.data.val->classes();
  options.image_size = opened.data.image_size;
  opened.model = build_model(model, options);
  load_weights(*opened.model, read_model_weights(weights));
  use_channels_last(*opened.model);
  opened.model->eval();
  return opened;
}

}  // namespace sparsify
