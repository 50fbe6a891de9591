// SPDX-License-Identifier: Apache-2.0
#include "sparsify/trainers/calibrate.hpp"

#include <torch/torch.h>

#include <functional>

#include "sparsify/error.hpp"
#include "sparsify/modifiers/quantization.hpp"
#include "sparsify/quantization/bias_correction.hpp"
#include "sparsify/quantization/equalize.hpp"
#include "sparsify/session.hpp"

namespace sparsify {
namespace {

std::string correct_biases(const Session& session, const Quantization& quantization, Network& network,
                           const std::function<torch::Tensor()>& next, std::int64_t batches) {
  BiasCorrection correction(quantization.quantizers(), session.state().parameters, session.state().buffers);
  for (std::int64_t i = 0; i < batches; ++i) {
    const auto batch = next();
    correction.begin();
    const ModeGuard guard(correction);
    network.outputs(batch);
  }
  const auto left = correction.correct();
  std::string names;
  for (const auto& layer : left) names += (names.empty() ? "; without a bias: " : ", ") + layer;
  return "bias correction: " + std::to_string(quantization.plan().weights.size() - left.size()) + " of " +
         std::to_string(quantization.plan().weights.size()) + " layers" + names;
}

}  // namespace

std::vector<std::string> calibrate(Session& session, Network& network, CalibrationImages& images,
                                   const CalibrationOptions& options) {
  const auto* quantization = session.find<Quantization>();
  if (!quantization) throw Error("there is nothing to calibrate: the recipe has no QuantizationModifier");
  if (quantization->learns_scales())
    throw Error("observer: lsq learns by gradient, and there is none without training");
  const torch::NoGradGuard no_grad;
  network.eval();
  const auto batches = options.batches > 0                     ? options.batches
                       : quantization->calibration_steps() > 0 ? quantization->calibration_steps()
                                                               : std::int64_t{32};
  std::vector<std::string> notes;
  const auto device = network.parameters().front().device();
  const auto next = [&] { return images.next().to(device); };
  const auto run = [&] { return network.outputs(next()); };
  images.rewind();
  if (options.equalize) {
    Recordable recordable{network};
    const auto pairs = equalize(record(recordable, next().slice(0, 0, 1)));
    notes.push_back("equalized " + std::to_string(pairs.size()) + " pairs of layers");
    images.rewind();
  }
  if (!quantization->is_planned()) session.calibrate(run);
  images.rewind();
  for (std::int64_t i = 0; i < batches; ++i) session.calibrate(run);
  if (options.bias_correction) {
    images.rewind();
    notes.push_back(correct_biases(session, *quantization, network, next, batches));
  }
  return notes;
}

}  // namespace sparsify
