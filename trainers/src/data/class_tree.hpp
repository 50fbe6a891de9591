// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <vector>

namespace sparsify::trainers {

/// One image as a folder or archive lists it.
struct ListedImage {
  std::string name;  ///< path, for reading and for messages
  size_t entry = 0;  ///< its place in the archive, if it lies in one
  size_t bytes = 0;
};

/// Images by class; a class without images is listed too, so that it can be reported.
using ClassTree = std::map<std::string, std::vector<ListedImage>>;

/// Throws one Error that lists everything wrong with the two parts: classes missing on one side, classes
/// without images, empty files. `val_name`: "val" or "test".
void check_classes(const std::string& source, const ClassTree& train, const ClassTree& val,
                   const std::string& val_name);

std::vector<std::string> class_names(const ClassTree& tree);

}  // namespace sparsify::trainers
