// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>

#include "diagnostics.hpp"
#include "node.hpp"
#include "variables.hpp"

namespace sparsify {

/// Reads the `run:` mapping: defaults for command-line flags, keys and kinds of value checked against
/// run_keys().
std::map<std::string, RunDefault> read_run(const yaml::Ref& run, Variables& variables,
                                           Diagnostics& diagnostics);

}  // namespace sparsify
