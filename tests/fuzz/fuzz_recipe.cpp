// SPDX-License-Identifier: Apache-2.0
// Whatever the bytes: the loader gives a recipe or a RecipeError, in bounded time and memory.
#include <cstdint>
#include <string>

#include "sparsify/load_recipe.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  static const char* const kNames[] = {"r.yaml", "r.md", "r.json"};
  const std::string text(reinterpret_cast<const char*>(data) + 1, size - 1);
  try {
    const auto file = sparsify::parse_recipe(text, kNames[data[0] % 3], {});
    // What was read can be written, and read again.
    sparsify::parse_recipe(sparsify::write_recipe(file.recipe), "again.yaml");
    sparsify::parse_recipe(file.text, "kept.yaml");
  } catch (const sparsify::RecipeError&) {
  } catch (const sparsify::Error&) {  // of write_recipe: texts that read as expressions
  }
  return 0;
}
