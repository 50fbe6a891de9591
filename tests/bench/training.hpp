// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <torch/torch.h>

#include <memory>
#include <string>
#include <utility>

#include "sparsify/session.hpp"
#include "sparsify/trainers/model.hpp"
#include "sparsify/trainers/precision.hpp"

namespace sparsify::bench {

/// How one side of a comparison trains; left alone, as the trainers do.
struct Setup {
  std::string precision = "auto";
  bool channels_last = true;
  bool step_in_one_pass = true;  ///< false: the optimizer's own step
  Recipe recipe{};
  int64_t steps_per_epoch = 1000;
};

/// A network with its optimizer and its session.
struct Training {
  Training(std::shared_ptr<Network> trained, const Setup& setup)
      : precision(parse_precision(setup.precision, torch::kCPU)),
        layout(setup.channels_last ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous),
        step_in_one_pass(setup.step_in_one_pass),
        network(std::move(trained)) {
    if (setup.channels_last) use_channels_last(*network);
    optimizer = std::make_unique<torch::optim::SGD>(
        network->parameters(), torch::optim::SGDOptions(0.001).momentum(0.9).weight_decay(1e-4));
    session = std::make_unique<Session>(setup.recipe, *network, *optimizer, setup.steps_per_epoch);
  }

  /// One step; `loss_of` gives the loss of the network's outputs.
  template <class LossOf>
  void learn(const torch::Tensor& images, LossOf&& loss_of) {
    const auto step = session->begin_step();
    optimizer->zero_grad();
    Outputs outputs;
    {
      const Autocast autocast(precision, torch::kCPU);
      outputs = step.forward([&] { return network->outputs(images); });
    }
    step.loss(loss_of(outputs)).backward();
    if (step_in_one_pass)
      step.optimize();
    else
      step.optimize([&] { optimizer->step(); });
  }

  Precision precision;
  at::MemoryFormat layout;
  bool step_in_one_pass;
  std::shared_ptr<Network> network;
  std::unique_ptr<torch::optim::SGD> optimizer;
  std::unique_ptr<Session> session;
};

/// ResNet-50 on a batch of 8 images of 224 px.
struct ResNet50 : Training {
  explicit ResNet50(const Setup& setup = {}) : Training(build_model("resnet50"), setup) {
    torch::manual_seed(0);
    images = torch::randn({8, 3, 224, 224}).contiguous(layout);
    labels = torch::randint(1000, {8});
  }

  void step() {
    learn(images, [&](const Outputs& outputs) {
      return torch::nn::functional::cross_entropy(outputs.front().to(torch::kFloat), labels);
    });
  }

  torch::Tensor images, labels;
};

}  // namespace sparsify::bench
