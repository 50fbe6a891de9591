// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <torch/torch.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "sparsify/isa.hpp"
#include "sparsify/onnx/export.hpp"
#include "sparsify/onnx/runtime.hpp"
#include "sparsify/onnx/temporary_folder.hpp"

namespace sparsify::onnx::testing {

/// A folder that goes away with everything in it.
struct Folder : TemporaryFolder {
  bool is_empty() const { return std::filesystem::is_empty(*this / ""); }
};

/// A module whose forward is a function.
struct FunctionImpl : torch::nn::Module {
  using Forward = std::function<std::vector<at::Tensor>(const at::Tensor&)>;
  explicit FunctionImpl(Forward run) : run_(std::move(run)) {}
  std::vector<at::Tensor> forward(const at::Tensor& input) { return run_(input); }
  Forward run_;
};

inline std::vector<std::string> sorted(std::vector<std::string> names) {
  std::sort(names.begin(), names.end());
  return names;
}

inline double largest_difference(const at::Tensor& actual, const at::Tensor& expected) {
  if (actual.sizes() != expected.sizes()) return INFINITY;
  return actual.numel() == 0 ? 0
                             : (actual.to(at::kDouble) - expected.to(at::kDouble)).abs().max().item<double>();
}

/// Whether ONNX Runtime adds here as evaluation and the interpreter do.
inline bool has_imitated_kernels() {
  return sparsify::detail::best_isa() != sparsify::detail::Isa::kBaseline;
}

}  // namespace sparsify::onnx::testing
