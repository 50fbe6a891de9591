// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "node.hpp"
#include "sparsify/value.hpp"
#include "variables.hpp"

namespace sparsify {

// The values a recipe can hold. Each takes exactly what it says: quoted numbers are text, `yes` is no
// boolean. All throw ValueError saying what was found and what was expected.

bool read_boolean(const yaml::Ref& value, Variables& variables);
std::int64_t read_integer(const yaml::Ref& value, Variables& variables);
double read_number(const yaml::Ref& value, Variables& variables);
std::string read_text(const yaml::Ref& value, Variables& variables);
/// Anything, keys of mappings evaluated too.
Value read_value(const yaml::Ref& value, Variables& variables);

}  // namespace sparsify
