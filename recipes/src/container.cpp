// SPDX-License-Identifier: Apache-2.0
#include "container.hpp"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <optional>
#include <sstream>
#include <vector>

#include "sparsify/load_recipe.hpp"

namespace sparsify {
namespace {

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

bool is_fence(const std::string& line) {
  const auto end = line.find_last_not_of(" \t\r");
  return end == 2 && (line.compare(0, 3, "---") == 0 || line.compare(0, 3, "+++") == 0);
}

/// "pruning_modifiers:" or, in SparseML's recipes, "modifiers_list:" at any depth; "The modifiers: pruning"
/// is prose.
bool opens_modifiers(const std::string& line) {
  const auto colon = line.find(':');
  const auto begin = line.find_first_not_of(" \t");
  if (colon == std::string::npos || begin >= colon) return false;
  const auto key = line.substr(begin, colon - begin);
  return key.find("modifiers") != std::string::npos &&
         std::all_of(key.begin(), key.end(),
                     [](unsigned char c) { return std::isalnum(c) || c == '_' || c == '-'; });
}

std::string front_matter(const std::string& text, const std::string& file_name) {
  auto lines = lines_of(text);
  std::vector<std::size_t> fences;
  for (std::size_t i = 0; i < lines.size(); ++i)
    if (is_fence(lines[i])) fences.push_back(i);
  std::optional<std::size_t> chosen;
  for (std::size_t f = 0; f + 1 < fences.size() && !chosen; ++f)
    if (std::any_of(lines.begin() + static_cast<std::ptrdiff_t>(fences[f]),
                    lines.begin() + static_cast<std::ptrdiff_t>(fences[f + 1]), opens_modifiers))
      chosen = f;
  if (!chosen)
    throw RecipeError(
        file_name +
        ": no recipe in this Markdown file; expected a block between two '---' lines that holds "
        "'modifiers:'");
  std::string yaml;
  for (std::size_t i = 0; i < fences[*chosen + 1]; ++i) yaml += (i > fences[*chosen] ? lines[i] : "") + "\n";
  return yaml;
}

/// The two halves of a character as JSON escapes it (\ud83d\ude00, here at `at`) as YAML's one, or nothing.
std::string joined_surrogates(const std::string& text, std::size_t at) {
  const auto half = [&](std::size_t from) -> std::uint32_t {
    std::uint32_t unit = 0;
    if (from + 6 > text.size() || text.compare(from, 2, "\\u") != 0) return 0;
    const auto* begin = text.data() + from + 2;
    return std::from_chars(begin, begin + 4, unit, 16).ptr == begin + 4 ? unit : 0;
  };
  const auto high = half(at), low = half(at + 6);
  if (high < 0xD800 || high > 0xDBFF || low < 0xDC00 || low > 0xDFFF) return "";
  char code[16];
  std::snprintf(code, sizeof code, "\\U%08X", 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00));
  return code;
}

std::string with_whole_characters(const std::string& text) {
  std::string result;
  for (std::size_t i = 0; i < text.size();) {
    const auto whole = joined_surrogates(text, i);
    const std::size_t length = !whole.empty() ? 12 : text[i] == '\\' ? 2 : 1;
    result += whole.empty() ? text.substr(i, length) : whole;
    i += length;
  }
  return result;
}

std::string without_leading_tabs(std::string text) {
  bool leading = true;
  for (char& c : text) {
    if (c == '\n')
      leading = true;
    else if (c == '\t' && leading)
      c = ' ';
    else if (c != ' ')
      leading = false;
  }
  return text;
}

}  // namespace

std::string read_recipe_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw RecipeError(path.string() + ": cannot be read: " + std::strerror(errno));
  std::string text(kMaxBytes + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  return text;
}

std::string yaml_inside(const std::string& text, const std::string& file_name) {
  if (text.size() > kMaxBytes) throw RecipeError(file_name + ": larger than 1 MiB; this is no recipe");
  if (text.find('\0') != std::string::npos)
    throw RecipeError(file_name + ": not a text file: it holds zero bytes");
  const bool byte_order_mark = text.rfind("\xEF\xBB\xBF", 0) == 0;
  const auto content = byte_order_mark ? text.substr(3) : text;
  if (file_name.ends_with(".md")) return front_matter(content, file_name);
  if (file_name.ends_with(".json")) return without_leading_tabs(with_whole_characters(content));
  return content;
}

}  // namespace sparsify
