// SPDX-License-Identifier: Apache-2.0
#include "workflow/runnable_detector.hpp"

#include <torch/torch.h>

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
  opened.heads = build_detector(opened.card)->heads();
  const auto target = facts.metadata.find("target");
  const auto engine = std::make_shared<onnx::Engine>(
      path, onnx::comparison_options(parse_target(target == facts.metadata.end() ? "cpu" : target->second)));
  opened.description = path.string() + " in ONNX Runtime " + onnx::Engine::version();
  opened.forward = [engine](const torch::Tensor& images) { return engine->run(Outputs{images}); };
  return opened;
}

RunnableDetector open_saved(const std::filesystem::path& path) {
  const auto saved = std::make_shared<SavedModel>(open_saved_model(path));
  require_detector(saved->card, path);
  RunnableDetector opened;
  opened.description = saved->card.model + " of " + saved->checkpoint.string();
  opened.card = saved->card;
  opened.heads = dynamic_cast<detection::Detector&>(*saved->model).heads();
  opened.forward = [saved](const torch::Tensor& images) { return saved->forward(images); };
  return opened;
}

}  // namespace

std::vector<std::vector<detection::Detection>> RunnableDetector::detect(
    const torch::Tensor& images, const detection::NmsOptions& options) const {
  const torch::NoGradGuard no_grad;
  const auto boxes = detection::decode(forward(images), heads, images.size(2), images.size(3));
  std::vector<std::vector<detection::Detection>> found;
  for (std::int64_t i = 0; i < boxes.size(0); ++i)
    found.push_back(detection::non_max_suppression(boxes[i], options));
  return found;
}

RunnableDetector open_detector(const std::filesystem::path& path) {
  return path.extension() == ".onnx" ? open_onnx(path) : open_saved(path);
}

RunnableDetector open_detector(const std::string& model, const std::filesystem::path& weights,
                               std::int64_t image_size) {
  RunnableDetector opened;
  const auto detector = open_detector_weights(model, weights, image_size, opened.card);
  opened.description = model + " with " + weights.string();
  opened.heads = detector->heads();
  opened.forward = [detector](const torch::Tensor& images) { return detector->forward(images); };
  return opened;
}

}  // namespace sparsify
