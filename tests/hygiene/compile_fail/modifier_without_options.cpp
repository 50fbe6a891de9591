// SPDX-License-Identifier: Apache-2.0
#include <sparsify/registry.hpp>

struct Nothing : sparsify::Modifier {
  static constexpr const char* kName = "NothingModifier";
  Nothing() : Modifier(sparsify::Window{}) {}
};

void add(sparsify::Recipe& recipe) { recipe.add<Nothing>({}); }
