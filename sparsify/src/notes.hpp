// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <iostream>
#include <string>

namespace sparsify {

/// For what libraries note while they work; results alone go to the standard output.
inline void to_stderr(const std::string& text) { std::cerr << text << std::endl; }

}  // namespace sparsify
