// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>

#include <torch/torch.h>

#include "command_line.hpp"
#include "commands/commands.hpp"
#include "json_output.hpp"
#include "recipe_arguments.hpp"
#include "sparsify/load_recipe.hpp"
#include "sparsify/suggest.hpp"
#include "sparsify/trainers/atomic_file.hpp"
#include "workflow/networks.hpp"
#include "workflow/problems.hpp"
#include "workflow/recipe_plan.hpp"
#include "workflow/recipe_quantization.hpp"
#include "workflow/recipe_reference.hpp"
#include "workflow/settings.hpp"
#include "workflow/table.hpp"

namespace sparsify {
namespace {

constexpr std::int64_t kStepsPerEpoch = 100;

std::string model_of(const CommandLine& line, const RecipeFile& file) {
  const auto model = file.run.find("model");
  return line.text("model", model == file.run.end() ? "" : model->second.value);
}

std::int64_t steps_per_epoch(const CommandLine& line) {
  return line.integer("steps-per-epoch", kStepsPerEpoch, 1, std::int64_t{1} << 30);
}

RecipeFile load(const CommandLine& line, const std::string& name) {
  auto file = load_recipe_file(name, read_recipe_arguments(line.texts("recipe-arg")));
  for (const auto& warning : file.warnings) std::cerr << "warning: " << warning << "\n";
  return file;
}

void check_model(const CommandLine& line, const RecipeFile& file, const std::string& model) {
  const auto run = file.run.find("model");
  const bool from_recipe = run != file.run.end() && !line.given("model");
  try {
    metric_of(model);  // knows all names
  } catch (const Error& error) {
    throw InputError((from_recipe ? run->second.where + ": run: model: " : "--model: ") + error.what());
  }
}

void check_target(const RecipeFile& file, const Settings& settings) {
  const auto scheme = quantization_scheme(file.recipe);
  const std::string other = scheme == "cpu" ? "gpu" : "cpu";
  if (!scheme.empty() && settings.target == other)
    throw InputError(place_of(settings, "target") + ": expected " + scheme +
                     ", which the recipe quantizes for, got '" + other + "'");
}

void check_teacher(const RecipeFile& file, const Settings& settings) {
  const auto& entries = file.recipe.entries();
  const bool distills = std::any_of(entries.begin(), entries.end(),
                                    [](const auto& entry) { return entry.type == "DistillationModifier"; });
  if (settings.distill_teacher != "none" && !distills)
    throw InputError(place_of(settings, "distill_teacher") +
                     ": the recipe has no DistillationModifier, so nothing would be learnt from it");
}

/// What `train` would refuse of the recipe's `run:` mapping on any machine.
void check_run_defaults(const RecipeFile& file, Problems& problems) {
  Settings settings;
  problems.of([&] { read_texts(settings, file.run); });
  const auto given = settings.epochs, needed = file.recipe.epochs();
  if (given == 0) settings.epochs = needed;
  problems.of([&] { check_ranges(settings); });
  problems.of([&] {
    if (given > 0 && given < needed)
      throw InputError(place_of(settings, "epochs") + ": got " + std::to_string(given) +
                       ", the recipe needs " + std::to_string(needed));
  });
  problems.of([&] { check_target(file, settings); });
  problems.of([&] { check_teacher(file, settings); });
  // Another machine may have what this one lacks.
  if (settings.device.starts_with("cuda") && !torch::cuda::is_available())
    std::cerr << "warning: " << place_of(settings, "device") << ": here LibTorch sees no CUDA device\n";
}

/// Throws Error for what does not fit the network, or would never act.
std::unique_ptr<RecipePlan> make_plan(const CommandLine& line, const RecipeFile& file,
                                      const std::string& model) {
  auto plan = std::make_unique<RecipePlan>(file, model, steps_per_epoch(line));
  if (file.recipe.epochs() > 0) plan->session().check_length(plan->epochs() * steps_per_epoch(line));
  return plan;
}

/// Binds the recipe to its network, if one is named, and says what comes of it.
void bind_recipe(const CommandLine& line, const RecipeFile& file, Problems& problems) {
  const auto model = model_of(line, file);
  const auto ok = [&](const std::string& binding) {
    std::cout << file.path.string() << ": ok, " << file.recipe.entries().size() << " modifiers, needs "
              << file.recipe.epochs() << " epochs, " << binding << "\n";
  };
  if (model.empty()) {
    if (problems.empty()) ok("no model is named, so its parameter patterns were not tried; see --model");
    return;
  }
  problems.of([&] {
    check_model(line, file, model);
    const auto plan = make_plan(line, file, model);
    if (!problems.empty()) return;
    ok("binds to " + model);
    for (const auto& note : plan->session().state().notes) std::cout << "note: " << note << "\n";
    std::cout << plan_table(*plan);
  });
}

/// Reads and, if a network is known, binds one recipe; true when nothing is wrong.
bool check_recipe(const CommandLine& line, const std::string& name) {
  Problems problems;
  problems.of([&] {
    const auto file = load(line, name);
    check_run_defaults(file, problems);
    bind_recipe(line, file, problems);
  });
  if (!problems.empty()) std::cerr << problems.text() << "\n";
  return problems.empty();
}

int check_recipes(const CommandLine& line, const std::vector<std::string>& names) {
  if (names.empty()) throw InputError("recipe check: no file is given");
  bool all_good = true;
  for (const auto& name : names) all_good &= check_recipe(line, name);
  return all_good ? 0 : 2;
}

struct Planned {
  RecipeFile file;
  std::unique_ptr<RecipePlan> plan;
};

Planned plan_recipe(const CommandLine& line, const std::vector<std::string>& names) {
  if (names.size() != 1) throw InputError("expected one recipe, got " + std::to_string(names.size()));
  auto file = load(line, names.front());
  const auto model = model_of(line, file);
  if (model.empty()) throw InputError(names.front() + ": the recipe names no model; expected --model NAME");
  Problems problems;
  check_run_defaults(file, problems);
  problems.of([&] { check_model(line, file, model); });
  problems.raise();
  return {file, make_plan(line, file, model)};
}

int show_plan(const CommandLine& line, const std::vector<std::string>& names) {
  const auto planned = plan_recipe(line, names);
  const auto& plan = *planned.plan;
  std::cout << planned.file.path.string() << " on " << model_of(line, planned.file) << ": " << plan.epochs()
            << " epochs of " << plan.session().state().steps_per_epoch << " steps\n\n"
            << plan_table(plan) << "\n"
            << parameter_table(plan);
  for (const auto& note : plan.session().state().notes) std::cout << "note: " << note << "\n";
  return 0;
}

int plot(const CommandLine& line, const std::vector<std::string>& names) {
  const auto planned = plan_recipe(line, names);
  const auto& source = planned.file.path;
  const auto path = line.text("output", source.stem().string() + ".plan.html");
  check_output_path(path, "--output");
  write_file_atomically(path, plan_html(*planned.plan, source.filename().string()));
  std::cout << path << "\n";
  return 0;
}

/// Whether a file of a recipe folder is meant as a recipe: Markdown is one when it begins with front matter.
bool is_recipe(const std::filesystem::path& path) {
  const auto ending = path.extension();
  if (ending != ".md") return ending == ".yaml" || ending == ".yml" || ending == ".json";
  std::ifstream file(path);
  std::string first;
  std::getline(file, first);
  return first.starts_with("---") || first.starts_with("+++");
}

/// By name; the first folder that has one wins.
std::map<std::string, std::filesystem::path> ready_made_recipes() {
  std::map<std::string, std::filesystem::path> found;
  std::error_code ignored;
  for (const auto& folder : recipe_library())
    for (const auto& file : std::filesystem::directory_iterator(folder, ignored))
      if (is_recipe(file.path())) found.emplace(file.path().filename().string(), file.path());
  return found;
}

std::string text_of(const Value& value) {
  return value.is(Value::Kind::kNumber) ? format_number(value.number) : value.text;
}

int list_recipes(const std::vector<std::string>& operands) {
  if (!operands.empty()) throw InputError("recipe list: unexpected argument '" + operands.front() + "'");
  std::vector<std::vector<std::string>> rows = {{"recipe", "model", "purpose", "expected"}};
  for (const auto& [name, path] : ready_made_recipes()) {
    try {
      const auto file = load_recipe_file(path.string());
      const auto model = file.run.find("model");
      const auto expected = file.metadata.find("expected");
      rows.push_back({name, model == file.run.end() ? "" : model->second.value, file.description,
                      expected == file.metadata.end() ? "" : text_of(expected->second)});
    } catch (const Error& error) {
      std::cerr << "warning: " << error.what() << "\n";
    }
  }
  std::cout << format_table(rows);
  return 0;
}

}  // namespace

int recipe_command(const std::vector<std::string>& arguments) {
  CommandLine line(
      "recipe", "check FILE... | plan FILE | plot FILE | list | schema | reference",
      "check: reads recipes and binds them to their model, without training; says all that is wrong.\n"
      "plan: when each modifier acts, in epochs and steps, and which parameter gets what.\n"
      "plot: the same as a page with curves.\n"
      "list: the ready-made recipes, which can be given by name.\n"
      "schema: a JSON schema for editors. reference: every modifier and field, as Markdown.",
      "  sparsify recipe list\n"
      "  sparsify recipe check my.yaml\n"
      "  sparsify recipe plan pruned_quant --model resnet50 --recipe-arg sparsity=0.9\n"
      "  sparsify recipe plot pruned_quant --output plan.html\n");
  line.option("check, plan, plot", "model", "bind to this network instead of the recipe's", "NAME");
  line.repeated("check, plan, plot", "recipe-arg", "set a variable of the recipe; may be repeated",
                "name=value");
  line.option("check, plan, plot", "steps-per-epoch", "optimizer steps in an epoch (default: 100)", "N");
  line.option("check, plan, plot", "output", "where plot writes its page (default: NAME.plan.html)", "FILE");
  if (!line.parse(arguments)) return 0;
  auto operands = line.operands();
  const std::vector<std::string> actions = {"check", "plan", "plot", "list", "schema", "reference"};
  const std::string expected = "expected check, plan, plot, list, schema or reference";
  if (operands.empty()) throw InputError(expected + "\nsee 'sparsify recipe --help'");
  const auto action = operands.front();
  operands.erase(operands.begin());
  return as_input([&] {
    if (action == "check") return check_recipes(line, operands);
    if (action == "plan") return show_plan(line, operands);
    if (action == "plot") return plot(line, operands);
    if (action == "list") return list_recipes(operands);
    if (action == "schema") return std::cout << recipe_schema().dump(2) << "\n", 0;
    if (action == "reference") return std::cout << recipe_reference(), 0;
    throw InputError("unknown action '" + action + "'" + suggestion(action, actions) + "\n" + expected);
  });
}

}  // namespace sparsify
