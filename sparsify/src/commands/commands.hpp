// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

namespace sparsify {

// Each parses its arguments, does its work and returns the exit code; what goes wrong is thrown.
int train_command(const std::vector<std::string>& arguments);
int validate_command(const std::vector<std::string>& arguments);
int export_command(const std::vector<std::string>& arguments);
int predict_command(const std::vector<std::string>& arguments);
int inspect_command(const std::vector<std::string>& arguments);
int analyze_command(const std::vector<std::string>& arguments);
int recipe_command(const std::vector<std::string>& arguments);

}  // namespace sparsify
