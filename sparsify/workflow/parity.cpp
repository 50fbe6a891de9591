// SPDX-License-Identifier: Apache-2.0
#include "workflow/parity.hpp"

#include <torch/torch.h>

#include <cmath>

#include "sparsify/error.hpp"
#include "sparsify/trainers/loader.hpp"
#include "sparsify/trainers/trainer.hpp"
#include "workflow/problems.hpp"
#include "workflow/table.hpp"

namespace sparsify {

onnx::Forward reporting(onnx::Forward forward, std::string what, std::int64_t of, ImageProgress progress) {
  if (!progress) return forward;
  return [=, done = std::int64_t{0}](const at::Tensor& images) mutable {
    auto result = forward(images);
    progress(what, done += images.size(0), of);
    return result;
  };
}

Parity compare(const trainers::Datasets& data, std::int64_t batch_size, std::int64_t workers,
               const onnx::Forward& trained_forward, const onnx::Forward& engine_forward,
               const ImageProgress& progress) {
  const torch::NoGradGuard no_grad;
  const auto images_in_all = data.val->size();
  const auto trained = reporting(trained_forward, "trained model", images_in_all, progress);
  const auto engine = reporting(engine_forward, "exported model", images_in_all, progress);
  Parity parity;
  std::vector<at::Tensor> expected;  // logits of every batch: a few bytes an image, and the model runs once
  parity.trained = evaluate(data, batch_size, workers, [&](const at::Tensor& images) {
    expected.push_back(trained(images).to(at::kCPU, at::kFloat));
    return expected.back();
  });
  trainers::Loader loader(data.val, trainers::in_order(data, batch_size, workers));  // the same batches again
  loader.start_epoch(0);
  std::size_t index = 0;
  parity.engine = onnx::compare(
      engine, [&](const at::Tensor&) { return expected.at(index++); },
      [&](at::Tensor& images, at::Tensor& labels) {
        auto batch = loader.next();
        if (batch) images = batch->images, labels = batch->labels;
        return batch.has_value();
      });
  return parity;
}

std::vector<std::string> complaints(const Parity& parity, const std::string& engine) {
  std::vector<std::string> found;
  const double top1 = parity.engine.engine_accuracy.value_or(parity.trained.top1);
  if (std::abs(top1 - parity.trained.top1) > 0.002 + 1e-9)
    found.push_back(engine + " reaches " + format_percent(top1) +
                    " top-1 with the exported model, the trained model " +
                    format_percent(parity.trained.top1));
  if (parity.engine.agreement < 0.99)
    found.push_back(engine + " decides like the trained model for only " +
                    format_percent(parity.engine.agreement) + " of the images");
  return found;
}

void require_agreement(const std::vector<std::string>& complaints, const std::string& remark) {
  if (complaints.empty()) return;
  Problems problems;
  for (const auto& complaint : complaints) problems.add(complaint);
  if (!remark.empty()) problems.add(remark);
  throw Error(problems.text());
}

}  // namespace sparsify
