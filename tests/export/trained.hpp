// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <catch2/catch_test_macros.hpp>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "sparsify/modifiers/quantization.hpp"
#include "sparsify/onnx/lint.hpp"
#include "sparsify/onnx/trained_steps.hpp"
#include "sparsify/session.hpp"
#include "support.hpp"

namespace sparsify::onnx::testing {

/// Of a file in its target's form: cpu, what the plan marks are integer kernels; gpu, TensorRT's rules are
/// kept.
inline void check_form(const ExportReport& report, Target target) {
  if (target == Target::kCpu)
    CHECK(sorted(integer_layers(report.path).integer_layers) == sorted(report.quantized));
  else
    CHECK(lint_gpu(report.path).findings.empty());
}

/// Four classes: stripes of two widths and two directions, in noise.
inline std::pair<at::Tensor, at::Tensor> stripes(std::int64_t count) {
  const auto labels = torch::randint(4, {count}, torch::kLong);
  const auto position = torch::arange(16).to(torch::kFloat);
  std::vector<at::Tensor> images;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto label = labels[i].item<std::int64_t>();
    const auto wave =
        torch::sin(position * (label & 1 ? 0.8 : 1.6) + torch::rand({1}) * 6).expand({3, 16, 16});
    images.push_back((label & 2 ? wave : wave.transpose(1, 2)) + 0.7 * torch::randn({3, 16, 16}));
  }
  return {torch::stack(images), labels};
}

/// A network trained for a few steps with quantizers active from the first on.
template <class Net>
struct Trained {
  Net net;
  torch::optim::SGD optimizer{net->parameters(), torch::optim::SGDOptions(0.05).momentum(0.9)};
  std::unique_ptr<Session> session;

  Trained(const std::string& scheme, int steps) : Trained(Quantization::Options{.scheme = scheme}, steps) {}

  Trained(const Quantization::Options& options, int steps, Net given = Net()) : net(std::move(given)) {
    Recipe recipe;
    recipe.add<Quantization>(options);
    session = std::make_unique<Session>(recipe, *net, optimizer, 10);
    for (int i = 0; i < steps; ++i) {
      const auto [images, labels] = stripes(32);
      auto step = session->begin_step();
      optimizer.zero_grad();
      const auto output = step.forward([&, x = images] { return net->forward(x); });
      step.loss(torch::cross_entropy_loss(output, labels)).backward();
      step.optimize();
    }
    net->eval();
  }

  at::Tensor evaluate(const at::Tensor& images) {
    return session->evaluate([&] { return net->forward(images); });
  }
  TrainedQuantization quantization() {
    return session->template find<Quantization>()->trained(session->state());
  }
  /// Every rounded tensor of the exported file beside this network's.
  std::vector<TensorParity> compare_tensors(const ExportReport& report, const EngineOptions& how,
                                            const at::Tensor& images) {
    const auto trained = quantization();
    bool more = true;
    return onnx::compare_tensors(
        report.rounded, steps_in_onnxruntime(report.path, report.rounded, how),
        steps_of_trained(*session->template find<Quantization>(), trained,
                         [&](const at::Tensor& x) { return evaluate(x); }),
        [&](at::Tensor& input, at::Tensor&) { return input = images, std::exchange(more, false); });
  }
};

/// A network whose quantizers have seen a batch; nothing is trained.
template <class Net>
struct Calibrated {
  Net net;
  torch::optim::SGD optimizer{net->parameters(), torch::optim::SGDOptions(0.1)};
  std::unique_ptr<Session> session;

  /// `inputs`: what `forward` takes.
  template <class... Inputs>
  Calibrated(Net given, Target target, const Inputs&... inputs) : net(std::move(given)) {
    Recipe recipe;
    recipe.add<Quantization>(Quantization::Options{.scheme = name(target), .observer = "minmax"});
    session = std::make_unique<Session>(recipe, *net, optimizer, 1);
    const torch::NoGradGuard no_grad;
    net->eval();
    for (int pass = 0; pass < 2; ++pass)  // the first is recorded, for the plan
      session->calibrate([&] { return net->forward(inputs...); });
  }

  TrainedQuantization quantization() {
    return session->template find<Quantization>()->trained(session->state());
  }
};

}  // namespace sparsify::onnx::testing
