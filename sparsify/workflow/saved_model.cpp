// SPDX-License-Identifier: Apache-2.0
#include "workflow/saved_model.hpp"

#include "sparsify/trainers/checkpoint.hpp"
#include "sparsify/trainers/optimizers.hpp"
#include "sparsify/trainers/weights.hpp"
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

/// What is deployed: the averaged weights where there are.
StateDict deployed(const Checkpoint& checkpoint) {
  auto weights = checkpoint.model;
  for (const auto& [name, tensor] : checkpoint.ema) weights[name] = tensor.to(weights.at(name).scalar_type());
  return weights;
}

}  // namespace

at::Tensor SavedModel::forward(const at::Tensor& images) const {
  torch::NoGradGuard no_grad;
  return session->evaluate([&] { return model->forward(images); });
}

SavedModel open_saved_model(const fs::path& run_or_checkpoint) {
  SavedModel saved;
  saved.checkpoint = checkpoint_of(run_or_checkpoint);
  const auto where = saved.checkpoint.string();
  const auto checkpoint = load_checkpoint(saved.checkpoint);
  saved.card = card_from(checkpoint.metadata, where);
  saved.recipe =
      parse_recipe(saved.card.recipe_text, where + " (recipe)", saved.card.recipe_arguments).recipe;
  ModelOptions options;
  options.num_classes = saved.card.num_classes;
  options.image_size = saved.card.image_size;
  saved.model = build_model(saved.card.model, options);
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
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) return deployed(load_checkpoint(checkpoint_of(path)));
  const bool ours =
      path.extension() == ".safetensors" && read_safetensors_metadata(path).count("sparsify.checkpoint") > 0;
  return ours ? deployed(load_checkpoint(path)) : read_weights(path);
}

trainers::Datasets open_data_for(const ModelCard& card, const std::string& spec) {
  trainers::DataOptions options;
  options.image_size = card.image_size;
  auto data = trainers::open_datasets(spec, options);
  if (data.val->classes() != card.num_classes)
    throw Error("data '" + spec + "' has " + std::to_string(data.val->classes()) + " classes, the model " +
                std::to_string(card.num_classes));
  data.normalization = card.normalization;
  return data;
}

WeightedModel open_weights(const std::string& model, const fs::path& weights, const std::string& data,
                           std::int64_t image_size) {
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

std::string absolute_data(const std::string& spec) {
  std::error_code ignored;
  return fs::exists(spec, ignored) ? fs::absolute(spec).lexically_normal().string() : spec;
}

}  // namespace sparsify
