// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "node.hpp"

namespace sparsify {

/// The value of a `--recipe-arg`: the list when the text is one as YAML writes it in a line ("[a, b]"), else
/// the text as it is.
yaml::Node argument(const std::string& name, const std::string& text);

}  // namespace sparsify
