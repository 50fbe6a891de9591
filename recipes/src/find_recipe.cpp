// SPDX-License-Identifier: Apache-2.0
#include <cstdlib>
#include <optional>
#include <set>
#include <sstream>

#include "container.hpp"
#include "sparsify/load_recipe.hpp"
#include "sparsify/suggest.hpp"

namespace sparsify {
namespace {

namespace fs = std::filesystem;

std::optional<fs::path> with_or_without_ending(const fs::path& path) {
  for (const char* ending : {"", ".yaml", ".yml", ".md", ".json"}) {
    auto candidate = path;
    candidate += ending;
    std::error_code ignored;
    if (fs::is_regular_file(candidate, ignored)) return candidate;
  }
  return std::nullopt;
}

/// Names of the recipes in the library's folders and the working directory.
std::set<std::string> names_around() {
  auto folders = recipe_library();
  folders.insert(folders.begin(), ".");
  std::set<std::string> names;
  for (const auto& folder : folders) {
    std::error_code ignored;
    for (const auto& file : fs::directory_iterator(folder, ignored))
      if (const auto ending = file.path().extension(); ending == ".yaml" || ending == ".yml")
        names.insert(file.path().filename().string());
  }
  return names;
}

}  // namespace

std::vector<fs::path> recipe_library() {
  std::vector<fs::path> candidates;
  if (const char* folders = std::getenv("SPARSIFY_RECIPES")) {
    std::istringstream list(folders);
    for (std::string folder; std::getline(list, folder, ':');)
      if (!folder.empty()) candidates.emplace_back(folder);
  }
  std::error_code ignored;
  const auto program = fs::read_symlink("/proc/self/exe", ignored);
  if (!program.empty())
    candidates.push_back(program.parent_path().parent_path() / "share" / "sparsify" / "recipes");
#ifdef SPARSIFY_RECIPES_SOURCE
  candidates.emplace_back(SPARSIFY_RECIPES_SOURCE);
#endif
  candidates.emplace_back(SPARSIFY_RECIPES_INSTALLED);
  std::vector<fs::path> library;
  for (const auto& folder : candidates)
    if (fs::is_directory(folder, ignored)) library.push_back(folder);
  return library;
}

fs::path find_recipe(const std::string& name_or_path) {
  if (name_or_path.empty()) throw RecipeError("the name of a recipe is empty");
  if (const auto found = with_or_without_ending(name_or_path)) return *found;
  const bool bare_name = name_or_path.find('/') == std::string::npos;
  if (bare_name)
    for (const auto& folder : recipe_library())
      if (const auto found = with_or_without_ending(folder / name_or_path)) return *found;
  std::error_code ignored;
  if (fs::is_directory(name_or_path, ignored))
    throw RecipeError(name_or_path + ": a folder; expected a recipe file");
  const auto names = names_around();
  std::string list;
  std::vector<std::string> known(names.begin(), names.end());
  for (const auto& name : names) {
    list += (list.empty() ? "" : ", ") + name;
    known.push_back(fs::path(name).stem().string());
  }
  throw RecipeError(name_or_path + ": no such recipe; " +
                    (list.empty() ? "there are none here" : "there are " + list) +
                    suggestion(fs::path(name_or_path).filename().string(), known));
}

RecipeFile load_recipe_file(const std::string& name_or_path, const RecipeArguments& arguments) {
  const auto path = find_recipe(name_or_path);
  return parse_recipe(read_recipe_file(path), path.string(), arguments);
}

Recipe load_recipe(const std::string& name_or_path, const RecipeArguments& arguments) {
  return load_recipe_file(name_or_path, arguments).recipe;
}

}  // namespace sparsify
