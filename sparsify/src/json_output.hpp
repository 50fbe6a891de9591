// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include <nlohmann/json_fwd.hpp>

namespace sparsify {

/// Throws InputError unless a file can be made there: asked before long work. Empty: nothing is wanted.
void check_output_path(const std::string& path, const std::string& flag);
/// Makes a folder for results. Throws InputError where it cannot be made or written to. Empty: nothing is
/// wanted.
void make_folder(const std::string& path, const std::string& flag);
/// Writes machine-readable results; nothing for an empty path.
void write_json(const std::string& path, const nlohmann::json& results);

}  // namespace sparsify
