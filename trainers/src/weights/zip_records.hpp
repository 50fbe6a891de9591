// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <string>
#include <string_view>

namespace sparsify::weights {

/// Flat uint8 tensors by name.
using Records = std::map<std::string, at::Tensor>;

/// The files of a zip archive in memory. PyTorch does not compress, so that together they are no larger than
/// the archive; throws Error if they claim to be, and for damaged archives.
Records read_zip(std::string_view archive, const std::string& name);

}  // namespace sparsify::weights
