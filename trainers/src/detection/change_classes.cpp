// SPDX-License-Identifier: Apache-2.0
#include "sparsify/detection/change_classes.hpp"

#include "sparsify/error.hpp"

namespace sparsify::detection {

void change_classes(Detector& detector, std::int64_t classes) {
  if (classes < 1) throw Error("a detector has at least one class, not " + std::to_string(classes));
  for (const auto& block : detector.blocks())
    if (const auto head_block = std::dynamic_pointer_cast<HeadBlock>(block))
      head_block->change_classes(classes);
}

}  // namespace sparsify::detection
