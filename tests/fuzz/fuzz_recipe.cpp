// SPDX-License-Identifier: Apache-2.0
// Whatever the bytes: the loader gives a recipe or a RecipeError, in bounded time and memory. What it gives
// can be written, and reads again as the same.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "sparsify/load_recipe.hpp"

namespace {

using namespace sparsify;

/// An error here ends the process, as it may not throw: a recipe that was written or kept must load.
void check_again(const RecipeFile& file, const std::string& written) noexcept {
  if (write_recipe(parse_recipe(written, "again.yaml")) != written) std::abort();
  parse_recipe(file.text, "kept.yaml");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  static const char* const kNames[] = {"r.yaml", "r.md", "r.json"};
  const std::string text(reinterpret_cast<const char*>(data) + 1, size - 1);
  RecipeFile file;
  std::string written;
  try {
    file = parse_recipe(text, kNames[data[0] % 3], {});
    written = write_recipe(file);
  } catch (const RecipeError&) {
    return 0;
  } catch (const Error&) {  // of write_recipe: texts that read as expressions
    return 0;
  }
  check_again(file, written);
  return 0;
}
