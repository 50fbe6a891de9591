// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <torch/torch.h>

#include <functional>
#include <vector>

namespace sparsify {

/// A network's outputs, in the order of its exported file.
using Outputs = std::vector<torch::Tensor>;

/// A network on images: what the training loop, the exporter and the command line know of it.
class Network : public torch::nn::Module {
 public:
  /// `images`: [N, C, H, W].
  virtual Outputs outputs(const torch::Tensor& images) = 0;
};

/// A network in the form that the graph recorder takes: `forward` gives its outputs, or what `after` makes of
/// them.
struct Recordable {
  Network& network;
  std::function<Outputs(const Outputs&)> after{};

  Outputs forward(const torch::Tensor& images) {
    const auto outputs = network.outputs(images);
    return after ? after(outputs) : outputs;
  }
  auto named_parameters() const { return network.named_parameters(); }
  auto named_buffers() const { return network.named_buffers(); }
  bool is_training() const { return network.is_training(); }
  void train(bool on) { network.train(on); }
  void eval() { network.eval(); }
};

}  // namespace sparsify
