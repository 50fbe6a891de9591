// SPDX-License-Identifier: Apache-2.0
#include "sparsify/trainers/calibrate.hpp"

#include <torch/torch.h>

#include "sparsify/error.hpp"
#include "sparsify/modifiers/quantization.hpp"
#include "sparsify/quantization/bias_correction.hpp"
#include "sparsify/quantization/equalize.hpp"
#include "sparsify/session.hpp"
#include "sparsify/trainers/loader.hpp"

namespace sparsify {
namespace {

/// The same images from the beginning, as often as asked for.
class Images {
 public:
  Images(const trainers::Datasets& data, const CalibrationOptions& options, torch::Device device)
      : loader_(data.train, loading(data, options)), device_(device) {
    rewind();
  }
  void rewind() { loader_.start_epoch(epoch_ = 0); }
  torch::Tensor next() {
    auto batch = loader_.next();
    if (!batch) loader_.start_epoch(++epoch_), batch = loader_.next();
    return batch->images.to(device_);
  }

 private:
  static trainers::LoaderOptions loading(const trainers::Datasets& data, const CalibrationOptions& options) {
    auto loading = trainers::in_order(data, options.batch_size, options.workers);
    loading.shuffle = true;
    return loading;
  }

  trainers::Loader loader_;
  torch::Device device_;
  std::int64_t epoch_ = 0;
};

std::string correct_biases(const Session& session, const Quantization& quantization, Model& model,
                           Images& images, std::int64_t batches) {
  BiasCorrection correction(quantization.quantizers(), session.state().parameters, session.state().buffers);
  images.rewind();
  for (std::int64_t i = 0; i < batches; ++i) {
    const auto batch = images.next();
    correction.begin();
    const ModeGuard guard(correction);
    model.forward(batch);
  }
  const auto left = correction.correct();
  std::string names;
  for (const auto& layer : left) names += (names.empty() ? "; without a bias: " : ", ") + layer;
  return "bias correction: " + std::to_string(quantization.plan().weights.size() - left.size()) + " of " +
         std::to_string(quantization.plan().weights.size()) + " layers" + names;
}

}  // namespace

std::vector<std::string> calibrate(Session& session, Model& model, const trainers::Datasets& data,
                                   const CalibrationOptions& options) {
  const auto* quantization = session.find<Quantization>();
  if (!quantization) throw Error("there is nothing to calibrate: the recipe has no QuantizationModifier");
  if (quantization->learns_scales())
    throw Error("observer: lsq learns by gradient, and there is none without training");
  const torch::NoGradGuard no_grad;
  model.eval();
  const auto batches = options.batches > 0                     ? options.batches
                       : quantization->calibration_steps() > 0 ? quantization->calibration_steps()
                                                               : std::int64_t{32};
  std::vector<std::string> notes;
  Images images(data, options, model.parameters().front().device());
  if (options.equalize) {
    const auto pairs = equalize(record(model, images.next().slice(0, 0, 1)));
    notes.push_back("equalized " + std::to_string(pairs.size()) + " pairs of layers");
    images.rewind();
  }
  if (!quantization->is_planned()) session.calibrate([&] { model.forward(images.next()); });
  images.rewind();
  for (std::int64_t i = 0; i < batches; ++i) session.calibrate([&] { model.forward(images.next()); });
  if (options.bias_correction)
    notes.push_back(correct_biases(session, *quantization, model, images, batches));
  return notes;
}

}  // namespace sparsify
