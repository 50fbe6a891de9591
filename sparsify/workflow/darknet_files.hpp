// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "workflow/saved_model.hpp"

namespace sparsify {

/// Whether a file's name says that it holds darknet's weights: ends in .weights.
bool is_darknet_file(const std::filesystem::path& path);
/// The same, or those of a backbone: darknet53.conv.74.
bool may_be_darknet_backbone(const std::filesystem::path& path);

/// Writes the weights of a detector that a .cfg describes as darknet's; of a quantized one those in floating
/// point, as they were trained. Returns what the user should know. Throws InputError for any other model.
std::vector<std::string> export_darknet(const SavedModel& saved, const std::filesystem::path& path);

}  // namespace sparsify
