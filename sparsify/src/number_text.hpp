// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdlib>
#include <string>

#include "workflow/input_error.hpp"

namespace sparsify {

/// The number that a text of the command line is. Throws InputError, naming the flag, unless it is one that
/// `fits`; `expected`: "a factor above 1".
template <class Fits>
double parse_number(const std::string& text, const std::string& flag, const std::string& expected,
                    const Fits& fits) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (text.empty() || *end != '\0' || !fits(value))
    throw InputError(flag + ": expected " + expected + ", got '" + text + "'");
  return value;
}

}  // namespace sparsify
