// SPDX-License-Identifier: Apache-2.0
#include "sparsify/trainers/model.hpp"

namespace sparsify {
namespace {

// Not Tensor::contiguous: it leaves a 1x1 kernel's ambiguous strides alone, and gradients come with the full
// ones.
void relayout(torch::Tensor& tensor) {
  if (tensor.dim() != 4) return;
  auto laid_out =
      torch::empty(tensor.sizes(), tensor.options().requires_grad(false), torch::MemoryFormat::ChannelsLast);
  laid_out.copy_(tensor.detach());
  tensor.set_data(laid_out);
}

}  // namespace

void use_channels_last(torch::nn::Module& module) {
  torch::NoGradGuard no_grad;
  for (auto& parameter : module.parameters()) relayout(parameter);
  for (auto& buffer : module.buffers()) relayout(buffer);
}

int64_t parameter_count(const torch::nn::Module& module) {
  int64_t count = 0;
  for (const auto& parameter : module.parameters()) count += parameter.numel();
  return count;
}

}  // namespace sparsify
