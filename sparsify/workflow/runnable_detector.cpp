// SPDX-License-Identifier: Apache-2.0
#include "workflow/runnable_detector.hpp"

#include <torch/torch.h>

#include "sparsify/detection/letterbox.hpp"
#include "sparsify/onnx/inspect.hpp"
#include "sparsify/onnx/runtime.hpp"
#include "workflow/export_run.hpp"
#include "workflow/saved_model.hpp"

namespace sparsify {
namespace {

void require_detector(const ModelCard& card, const std::filesystem::path& path) {
  if (!is_detector(card.model)) throw Error(path.string() + ": " + card.model + " is no detector");
}

RunnableDetector open_onnx(const std::filesystem::path& path) {
  const auto facts = onnx::inspect_model(path);
  if (!facts.metadata.count("normalization"))
    throw Error(path.string() + ": not exported by sparsify, so its heads are not known");
  RunnableDetector opened;
  opened.card = card_from(facts.metadata, path.string());
  require_detector(opened.card, path);
  opened.reader = reader_of(opened.card);
  opened.description = path.string() + " in ONNX Runtime " + onnx::Engine::version();
  opened.forward = open_engine(path, facts.metadata);
  return opened;
}

RunnableDetector open_saved(const std::filesystem::path& path) {
  const auto saved = std::make_shared<SavedModel>(open_saved_model(path));
  require_detector(saved->card, path);
  RunnableDetector opened;
  opened.description = saved->card.model + " of " + saved->checkpoint.string();
  opened.card = saved->card;
  opened.reader = reader_of(*saved->model);
  opened.forward = [saved](const torch::Tensor& images) { return saved->forward(images); };
  return opened;
}

}  // namespace

std::vector<detection::Detection> RunnableDetector::find(const trainers::Image& image,
                                                         const detection::NmsOptions& options) const {
  const torch::NoGradGuard no_grad;
  const auto input = detection::letterboxed(image, card.image_size);
  const auto found = reader.objects(forward(input.pixels), card.image_size, card.image_size, options);
  return detection::to_image(found.at(0), input.placement);
}

RunnableDetector open_detector(const std::filesystem::path& path) {
  return path.extension() == ".onnx" ? open_onnx(path) : open_saved(path);
}

RunnableDetector open_detector(const std::string& model, const std::filesystem::path& weights,
                               std::int64_t image_size) {
  RunnableDetector opened;
  const auto detector = open_detector_weights(model, weights, image_size, opened.card);
  opened.description = model + " with " + weights.string();
  opened.reader = {detector->heads()};
  opened.forward = [detector](const torch::Tensor& images) { return detector->forward(images); };
  return opened;
}

}  // namespace sparsify
