// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <torch/torch.h>

#include <utility>

namespace sparsify::test {

/// A module whose forward is a function of it and of its input.
template <class Run>
struct LambdaNet : torch::nn::Module {
  explicit LambdaNet(Run run) : run(std::move(run)) {}
  auto forward(const at::Tensor& x) { return run(*this, x); }
  Run run;
};

}  // namespace sparsify::test
