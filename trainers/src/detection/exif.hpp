// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string_view>

namespace sparsify::detection {

/// The orientation, 1 to 8, in the content of a JPEG's APP1 segment; nothing where it says none.
std::optional<int> exif_orientation(std::string_view segment);

}  // namespace sparsify::detection
