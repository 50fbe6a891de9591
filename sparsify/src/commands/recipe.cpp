// SPDX-License-Identifier: Apache-2.0
#include <filesystem>
#include <iostream>
#include <map>

#include <torch/torch.h>

#include "command_line.hpp"
#include "commands/commands.hpp"
#include "recipe_arguments.hpp"
#include "sparsify/load_recipe.hpp"
#include "sparsify/session.hpp"
#include "sparsify/suggest.hpp"
#include "sparsify/trainers/model.hpp"
#include "sparsify/trainers/optimizers.hpp"
#include "workflow/table.hpp"

namespace sparsify {
namespace {

constexpr std::int64_t kStepsPerEpoch = 100;  // any number does: only the selected parameters are of interest

std::string epochs(const Window& window) {
  const auto text = [](double epoch, const char* unset) {
    if (epoch < 0) return std::string(unset);
    char digits[32];
    std::snprintf(digits, sizeof digits, "%g", epoch);
    return std::string(digits);
  };
  return text(window.start_epoch, "begin") + " to " + text(window.end_epoch, "end");
}

/// Binds the recipe to its model, if one is known: selectors that match nothing and modifiers that fight are
/// found.
std::string try_binding(const RecipeFile& file, const std::string& model_name) {
  if (model_name.empty()) return "no model is named, so its parameter patterns were not tried; see --model";
  const auto model = build_model(model_name, {});
  const auto optimizer = make_optimizer(*model, {});
  const Session session(file.recipe, *model, *optimizer, kStepsPerEpoch);
  return "binds to " + model_name;
}

int check_recipes(const CommandLine& line, const std::vector<std::string>& files) {
  if (files.empty()) throw InputError("recipe check: no file is given");
  const auto arguments = read_recipe_arguments(line.texts("recipe-arg"));
  for (const auto& name : files) {
    const auto file = load_recipe_file(name, arguments);
    const auto model = file.run.count("model") ? file.run.at("model").value : "";
    const auto bound = try_binding(file, line.text("model", model));
    std::vector<std::vector<std::string>> rows = {{"modifier", "epochs"}};
    for (const auto& entry : file.recipe.entries()) rows.push_back({entry.type, epochs(entry.window)});
    std::cout << file.path.string() << ": ok, " << file.recipe.entries().size() << " modifiers, needs "
              << file.recipe.epochs() << " epochs, " << bound << "\n"
              << format_table(rows);
  }
  return 0;
}

int list_recipes() {
  std::map<std::string, std::filesystem::path> found;  // by name; the first folder that has one wins
  for (const auto& folder : recipe_library())
    for (const auto& file : std::filesystem::directory_iterator(folder))
      if (file.path().extension() == ".yaml") found.emplace(file.path().filename().string(), file.path());
  for (const auto& [name, path] : found)
    std::cout << name << std::string(name.size() < 24 ? 24 - name.size() : 1, ' ')
              << load_recipe_file(path.string()).description << "\n";
  return 0;
}

}  // namespace

int recipe_command(const std::vector<std::string>& arguments) {
  CommandLine line(
      "recipe", "check FILE... | list",
      "check: reads recipes, and binds them to their model, without training; shows what they hold.\n"
      "list: the ready-made recipes, which can be given by name.",
      "  sparsify recipe list\n"
      "  sparsify recipe check my.yaml\n"
      "  sparsify recipe check my.yaml --model resnet50 --recipe-arg sparsity=0.9\n");
  line.option("check", "model", "bind to this network instead of the recipe's", "NAME");
  line.repeated("check", "recipe-arg", "set a variable of the recipe; may be repeated", "name=value");
  if (!line.parse(arguments)) return 0;
  auto operands = line.operands();
  if (operands.empty()) throw InputError("expected 'check FILE...' or 'list'\nsee 'sparsify recipe --help'");
  const auto action = operands.front();
  operands.erase(operands.begin());
  return as_input([&] {
    if (action == "check") return check_recipes(line, operands);
    if (action == "list") return list_recipes();
    throw InputError("unknown action '" + action + "'" + suggestion(action, {"check", "list"}) +
                     "\nexpected 'check FILE...' or 'list'");
  });
}

}  // namespace sparsify
