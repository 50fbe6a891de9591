// SPDX-License-Identifier: Apache-2.0
#include <filesystem>
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
#include "workflow/recipe_plan.hpp"
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

/// What `train` would refuse of the recipe's `run:` mapping.
void check_run_defaults(const RecipeFile& file) {
  Settings settings;
  read_texts(settings, file.run);
  check_ranges(settings);
  if (settings.epochs > 0 && settings.epochs < file.recipe.epochs())
    throw InputError(file.path.string() + ": run: epochs: got " + std::to_string(settings.epochs) +
                     ", the recipe needs " + std::to_string(file.recipe.epochs()));
}

/// Reads and, if a network is known, binds one recipe; true when nothing is wrong.
bool check_recipe(const CommandLine& line, const std::string& name) {
  try {
    const auto file = load(line, name);
    const auto model = model_of(line, file);
    check_run_defaults(file);
    const auto ok = [&](const std::string& binding) {
      std::cout << file.path.string() << ": ok, " << file.recipe.entries().size() << " modifiers, needs "
                << file.recipe.epochs() << " epochs, " << binding << "\n";
    };
    if (model.empty()) {
      ok("no model is named, so its parameter patterns were not tried; see --model");
      return true;
    }
    const RecipePlan plan(file, model, steps_per_epoch(line));
    if (file.recipe.epochs() > 0) plan.session().check_length(plan.epochs() * steps_per_epoch(line));
    ok("binds to " + model);
    for (const auto& note : plan.session().state().notes) std::cout << "note: " << note << "\n";
    std::cout << plan_table(plan);
    return true;
  } catch (const Error& error) {
    std::cerr << error.what() << "\n";
    return false;
  }
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
  return {file, std::make_unique<RecipePlan>(file, model, steps_per_epoch(line))};
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

int list_recipes(const std::vector<std::string>& operands) {
  if (!operands.empty()) throw InputError("recipe list: unexpected argument '" + operands.front() + "'");
  std::map<std::string, std::filesystem::path> found;  // by name; the first folder that has one wins
  for (const auto& folder : recipe_library())
    for (const auto& file : std::filesystem::directory_iterator(folder))
      if (file.path().extension() == ".yaml") found.emplace(file.path().filename().string(), file.path());
  std::vector<std::vector<std::string>> rows = {{"recipe", "model", "purpose", "expected"}};
  for (const auto& [name, path] : found) {
    const auto file = load_recipe_file(path.string());
    const auto model = file.run.find("model");
    const auto expected = file.metadata.find("expected");
    rows.push_back({name, model == file.run.end() ? "" : model->second.value, file.description,
                    expected == file.metadata.end() ? "" : expected->second});
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
