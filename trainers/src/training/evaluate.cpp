// SPDX-License-Identifier: Apache-2.0
#include "sparsify/trainers/task.hpp"

namespace sparsify {

Evaluation evaluate(Validation& validation, const Forward& forward) {
  const torch::NoGradGuard no_grad;
  while (const auto images = validation.next()) validation.add(0, forward(*images));
  return validation.result(0);
}

}  // namespace sparsify
