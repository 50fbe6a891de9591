// SPDX-License-Identifier: Apache-2.0
#include "workflow/train_inputs.hpp"

#include <set>

#include "sparsify/trainers/model.hpp"
#include "workflow/detectors.hpp"
#include "workflow/input_error.hpp"
#include "workflow/recipe_quantization.hpp"
#include "workflow/data_source.hpp"
#include "workflow/teacher.hpp"

namespace sparsify {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::int64_t kDefaultEpochs = 10;

void choose_target(TrainInputs& inputs) {
  const auto scheme = quantization_scheme(inputs.recipe.recipe);
  auto& target = inputs.settings.target;
  if (target.empty()) target = scheme.empty() ? "cpu" : scheme;
  if (scheme.empty() || target == scheme) return;
  throw InputError(
      "--target " + target + ": the recipe quantizes for " + scheme + " engines; train with --target " +
      scheme +
      ", or change the scheme in the recipe. (A finished run can be exported for the other family with "
      "'sparsify export --requantize'.)");
}

/// What a recipe applied once cannot do: these go by what training shows them.
void check_one_shot(const TrainRequest& request, const TrainInputs& inputs) {
  static const std::set<std::string> learn = {
      "MovementPruningModifier", "OBSPruningModifier",       "MFACPruningModifier", "RigLPruningModifier",
      "TopKASTPruningModifier",  "PowerpropagationModifier", "ASRegModifier",       "DistillationModifier"};
  if (!request.one_shot) return;
  if (request.resume) throw InputError("--one-shot: there is nothing to resume; give --output another run");
  if (inputs.settings.weights.empty())
    throw InputError("--one-shot: nothing is trained; give a trained network with --weights");
  for (const auto& entry : inputs.recipe.recipe.entries())
    if (learn.count(entry.type))
      throw InputError("--one-shot: " + entry.type +
                       " goes by gradients or acts in training; train without "
                       "--one-shot, or leave it out");
}

json read_baseline(const Settings& settings, const std::string& metric) {
  if (settings.baseline == "none") return nullptr;
  std::error_code ignored;
  if (!fs::is_directory(settings.baseline, ignored))
    throw InputError("--baseline " + settings.baseline + ": no such run directory; expected one, or none");
  auto summary = read_json(RunDirectory(settings.baseline).summary());
  for (const char* key : {"final", "sparsity", "quantized", "files", "parity", "seconds", "recipe"})
    if (!summary.contains(key))
      throw InputError("--baseline " + settings.baseline + ": its summary.json has no '" + key + "'");
  if (summary.value("metric", "") != metric || !summary["final"].is_number())
    throw InputError("--baseline " + settings.baseline + ": its metric is not " + metric);
  return summary;
}

void use_defaults_of_kind(Settings& settings) {
  if (is_detector(settings.model)) return use_detector_defaults(settings);
  if (settings.hyp != "none")
    throw InputError(place_of(settings, "hyp") + ": '" + settings.hyp + "' would be for detectors, and " +
                     settings.model + " is none");
}

/// Files of hyper-parameters made for recipes say lr0: 0, and the recipe the rest.
void check_learning_rate(const TrainRequest& request, const TrainInputs& inputs) {
  if (inputs.settings.lr > 0 || request.one_shot || sets_learning_rate(inputs.recipe.recipe)) return;
  throw InputError(place_of(inputs.settings, "hyp") + ": " + inputs.settings.hyp +
                   ": lr0 is 0, and the recipe sets no learning rate; expected one of the two, or --lr");
}

void start_new(const TrainRequest& request, TrainInputs& inputs) {
  if (request.recipe.empty())
    throw InputError(
        "no recipe is given: use --recipe R (see 'sparsify recipe list'), or --resume --output RUN");
  inputs.recipe = load_recipe_file(request.recipe, request.arguments);
  inputs.recipe_name = inputs.recipe.path.stem().string();
  inputs.arguments = request.arguments;
  read_texts(inputs.settings, inputs.recipe.run);
  read_texts(inputs.settings, request.flags);
  check(inputs.settings);
  if (inputs.settings.output.empty()) inputs.settings.output = free_run_path(inputs.recipe_name).string();
  inputs.settings.data = absolute_data(inputs.settings.data);
  inputs.settings.distill_teacher = absolute_data(inputs.settings.distill_teacher);
  if (inputs.settings.epochs == 0) inputs.settings.epochs = inputs.recipe.recipe.epochs();
  if (inputs.settings.epochs == 0) inputs.settings.epochs = kDefaultEpochs;
  use_defaults_of_kind(inputs.settings);
  check_learning_rate(request, inputs);
  inputs.directory = RunDirectory(inputs.settings.output);
  inputs.directory.check_new();
}

void note_unused_flags(const TrainRequest& request, const TrainInputs& inputs,
                       const std::function<void(const std::string&)>& note) {
  const auto unused = [&](const char* name, const std::string& why) {
    if (const auto flag = request.flags.find(name); flag != request.flags.end())
      note("warning: " + flag->second.where + " has no effect: " + why);
  };
  if (sets_learning_rate(inputs.recipe.recipe))
    for (const char* name : {"lr_schedule", "warmup_epochs", "warmup_bias_lr", "warmup_momentum"})
      unused(name, "the recipe sets the learning rate");
  if (inputs.settings.optimizer == "adamw")
    for (const char* name : {"momentum", "nesterov", "warmup_momentum"})
      unused(name, "the optimizer is adamw");
  if (!is_detector(inputs.settings.model))
    for (const char* name : {"nbs", "multi_scale", "autoanchor"})
      unused(name, inputs.settings.model + " is no detector");
}

/// Settings that may change from one part of a run to the next without changing what it computes.
const std::set<std::string>& free_settings() {
  static const std::set<std::string> names = {"output", "device", "workers", "baseline"};
  return names;
}

void check_unchanged(const TrainRequest& request, const TrainInputs& inputs, Settings given) {
  const auto before = to_json(inputs.settings), after = to_json(std::move(given));
  for (const auto& [name, flag] : request.flags)
    if (!free_settings().count(name) && before.at(name) != after.at(name))
      throw InputError(
          flag.where + ": this run has " + before.at(name).dump() +
          "; a resumed run keeps its settings, only --device, --workers and --baseline may change");
  if (!request.recipe.empty() &&
      load_recipe_file(request.recipe, request.arguments).text != inputs.recipe.text)
    throw InputError("--recipe " + request.recipe + ": this is not the recipe the run was begun with (" +
                     inputs.directory.recipe().string() + "); leave --recipe out to go on");
  for (const auto& [name, value] : request.arguments)
    if (!inputs.arguments.count(name) || inputs.arguments.at(name) != value)
      throw InputError(std::string("--recipe-arg ").append(name).append("=").append(value) +
                       ": a resumed run keeps the arguments it was begun with");
}

void go_on(const TrainRequest& request, TrainInputs& inputs) {
  const auto output = request.flags.find("output");
  if (output == request.flags.end())
    throw InputError("--resume: which run? Give its directory: sparsify train --resume --output RUN");
  inputs.directory = RunDirectory(output->second.value);
  inputs.directory.check_resumable();
  inputs.directory.lock();
  const auto config = inputs.directory.read_config();
  const auto where = inputs.directory.config().string();
  if (!config.contains("settings") || !config.contains("recipe"))
    throw InputError(where + ": not written by 'sparsify train'");
  inputs.settings = settings_from_json(config["settings"], where);
  try {
    config["recipe"].at("name").get_to(inputs.recipe_name);
    config["recipe"].at("arguments").get_to(inputs.arguments);
  } catch (const json::exception&) {
    throw InputError(where + ": 'recipe' is damaged");
  }
  inputs.recipe = load_recipe_file(inputs.directory.recipe().string(), inputs.arguments);
  auto given = inputs.settings;
  read_texts(given, request.flags);
  check_unchanged(request, inputs, given);
  for (const auto& [name, flag] : request.flags)
    if (free_settings().count(name)) read_texts(inputs.settings, {{name, flag}});
  inputs.begun = true;
  inputs.resume = fs::exists(inputs.directory.last());
}

std::int64_t disk_space_needed(const Network& network) {
  constexpr std::int64_t kBytesPerParameter =
      48;  // two checkpoints with optimizer and masks, one being replaced, one model
  return parameter_count(network) * kBytesPerParameter + (1 << 20);
}

}  // namespace

ModelCard TrainInputs::card() const {
  auto card = opened.card;
  card.recipe_name = recipe_name;
  card.recipe_text = recipe.text;
  card.recipe_arguments = arguments;
  return card;
}

json TrainInputs::config() const {
  return {{"sparsify_version", SPARSIFY_VERSION},
          {"recipe",
           {{"name", recipe_name}, {"path", fs::absolute(recipe.path).string()}, {"arguments", arguments}}},
          {"settings", to_json(settings)},
          {"classes", opened.card.class_names},
          {"image_size", opened.card.image_size}};
}

TrainInputs gather(const TrainRequest& request, const std::function<void(const std::string&)>& note) {
  return as_input([&] {
    TrainInputs inputs;
    request.resume ? go_on(request, inputs) : start_new(request, inputs);
    check_one_shot(request, inputs);
    for (const auto& warning : inputs.recipe.warnings) note("warning: " + warning);
    note_unused_flags(request, inputs, note);
    parse_device(inputs.settings.device);
    choose_target(inputs);
    inputs.baseline = read_baseline(inputs.settings, metric_of(inputs.settings.model));
    inputs.opened = open_task(inputs.settings, !inputs.resume, note);
    inputs.teacher = open_teacher(inputs.settings.distill_teacher, inputs.opened);
    if (!inputs.begun) inputs.directory.check_new(disk_space_needed(inputs.opened.task->network()));
    return inputs;
  });
}

}  // namespace sparsify
