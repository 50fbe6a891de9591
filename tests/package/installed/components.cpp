// SPDX-License-Identifier: Apache-2.0
// Links the whole of every static library, so that a dependency missing from the package is a link error.
#include <sparsify/load_recipe.hpp>
#include <sparsify/onnx/export.hpp>
#include <sparsify/trainers/metrics.hpp>

#include <cstdio>

int main() {
  const auto file = sparsify::load_recipe_file("pruned_quant");
  std::printf("%zu modifiers for %s\n", file.recipe.entries().size(),
              sparsify::onnx::name(sparsify::onnx::Target::kCpu).c_str());
}
