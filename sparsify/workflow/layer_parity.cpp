// SPDX-License-Identifier: Apache-2.0
#include "workflow/layer_parity.hpp"

#include <torch/torch.h>

#include <algorithm>

#include "sparsify/modifiers/quantization.hpp"
#include "sparsify/onnx/temporary_folder.hpp"
#include "sparsify/onnx/trained_steps.hpp"
#include "workflow/export_run.hpp"
#include "workflow/input_error.hpp"

namespace sparsify {
namespace {

// All rounded tensors of a batch are held twice.
constexpr std::int64_t kImagesAtOnce = 8;

onnx::NextBatch first_images(Validation& validation, std::int64_t images) {
  return [&validation, left = images](at::Tensor& input, at::Tensor&) mutable {
    if (left <= 0) return false;
    const auto batch = validation.next();
    if (!batch) return false;
    input = batch->narrow(0, 0, std::min(left, batch->size(0)));
    left -= input.size(0);
    return true;
  };
}

}  // namespace

const onnx::TensorParity* LayerParity::first_different() const {
  const auto found =
      std::find_if(tensors.begin(), tensors.end(), [](const auto& tensor) { return tensor.different > 0; });
  return found == tensors.end() ? nullptr : &*found;
}

LayerParity measure_layer_parity(const SavedModel& saved, const DataSource& data, std::int64_t batch_size,
                                 std::int64_t workers, std::int64_t images, const ImageProgress& progress) {
  auto* quantization = saved.session->find<Quantization>();
  if (!quantization || !quantization->active())
    throw InputError(saved.checkpoint.string() +
                     ": has no trained quantizers, so there is nothing that the exported file could round "
                     "otherwise; validate the .onnx file instead");
  const auto trained = quantization->trained(saved.session->state());
  const auto target = parse_target(trained.plan.scheme);
  const onnx::TemporaryFolder folder;
  const auto file = folder / "model.onnx";
  ExportForm form;
  form.target = target;
  form.boxes = saved.card.boxes;  // as the data judges them
  const auto outcome = export_checked(saved, data.first_image(), form, file);
  const auto options = onnx::comparison_options(target);
  const Forward forward = [&](const at::Tensor& input) { return saved.forward(input); };

  LayerParity parity;
  parity.engine = "ONNX Runtime " + onnx::Engine::version();
  parity.target = onnx::name(target);
  parity.warnings = outcome.warnings;
  parity.broken = outcome.broken;
  const auto pass = data.validation(kImagesAtOnce, workers);
  parity.images = std::min(images, pass->images());
  const auto reported = reporting(forward, "tensor by tensor", parity.images, progress);
  parity.tensors = onnx::compare_tensors(
      outcome.report.rounded, onnx::steps_in_onnxruntime(file, outcome.report.rounded, options),
      onnx::steps_of_trained(*quantization, trained,
                             [&](const at::Tensor& input) { return reported(input).front(); }),
      first_images(*pass, images));
  const auto validation = data.validation(batch_size, workers);
  parity.whole = compare(*validation, forward, open_engine(file, target), progress);
  return parity;
}

}  // namespace sparsify
