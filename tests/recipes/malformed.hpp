// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

namespace sparsify::test {

/// How many cases test_malformed_fields.cpp has: the corpus is in two sources.
std::size_t malformed_field_cases();

}  // namespace sparsify::test
