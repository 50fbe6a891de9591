// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>

namespace sparsify {

/// A larger file is no recipe.
inline constexpr std::size_t kMaxBytes = std::size_t{1} << 20;

/// What a file holds, up to a little more than a recipe may have. Throws RecipeError when it cannot be read.
std::string read_recipe_file(const std::filesystem::path& path);

/// The YAML inside a recipe file, every line at its place: a Markdown file's front matter (the block between
/// `---` or `+++` lines that holds modifiers, wherever it is), a JSON file without tabs and with whole
/// characters, else the text. Throws RecipeError for binary files, oversized ones, and Markdown without such
/// a block.
std::string yaml_inside(const std::string& text, const std::string& file_name);

}  // namespace sparsify
