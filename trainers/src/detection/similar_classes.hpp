// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "detection/object_files.hpp"

namespace sparsify::detection {

/// Tells of rare classes whose names are nearly those of frequent ones: misspelt names become classes of
/// their own where nothing lists the classes. `objects`: of each class.
void tell_similar_classes(const std::string& where, const std::map<std::string, std::int64_t>& objects,
                          LabelReport& report);

}  // namespace sparsify::detection
