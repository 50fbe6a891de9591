// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <torch/torch.h>

#include <memory>
#include <string>

#include "sparsify/session.hpp"
#include "sparsify/trainers/model.hpp"
#include "sparsify/trainers/precision.hpp"

namespace sparsify::bench {

/// Images of one batch, [count, 3, size, size], and the number of classes; `boxes`: of a detector, which
/// gives logits [count, classes, boxes].
struct BatchShape {
  int64_t count, size, classes, boxes = 0;
};

/// A network with its optimizer and, for one side of a comparison, a session.
struct Training {
  Training(std::shared_ptr<Model> network, BatchShape shape, const std::string& precision_name,
           bool channels_last, const Recipe& recipe = {}, int64_t steps_per_epoch = 1000)
      : precision(parse_precision(precision_name, torch::kCPU)), model(std::move(network)) {
    torch::manual_seed(0);
    images = torch::randn({shape.count, 3, shape.size, shape.size});
    labels = torch::randint(shape.classes, {shape.count});
    if (shape.boxes > 0) labels = torch::randint(shape.classes, {shape.count, shape.boxes});
    if (channels_last) {
      use_channels_last(*model);
      images = images.contiguous(at::MemoryFormat::ChannelsLast);
    }
    optimizer = std::make_unique<torch::optim::SGD>(
        model->parameters(), torch::optim::SGDOptions(0.001).momentum(0.9).weight_decay(1e-4));
    session = std::make_unique<Session>(recipe, *model, *optimizer, steps_per_epoch);
  }

  void step() {
    const auto step = session->begin_step();
    optimizer->zero_grad();
    torch::Tensor logits;
    {
      const Autocast autocast(precision, torch::kCPU);
      logits = step.forward([&] { return model->forward(images); });
    }
    step.loss(torch::nn::functional::cross_entropy(logits.to(torch::kFloat), labels)).backward();
    step.optimize();
  }

  Precision precision;
  std::shared_ptr<Model> model;
  torch::Tensor images, labels;
  std::unique_ptr<torch::optim::SGD> optimizer;
  std::unique_ptr<Session> session;
};

}  // namespace sparsify::bench
