// SPDX-License-Identifier: Apache-2.0
#include "sparsify/trainers/classification.hpp"

#include <algorithm>

#include "sparsify/error.hpp"
#include "training/endless_images.hpp"

namespace sparsify {
namespace {

void check(const ClassificationOptions& options) {
  if (options.batch_size < 1)
    throw Error("batch_size: expected at least 1, got " + std::to_string(options.batch_size));
  if (!(options.label_smoothing >= 0 && options.label_smoothing < 1))
    throw Error("label_smoothing: expected a number from 0 to below 1");
  if (options.workers < 0) throw Error("workers: expected 0 or more");
}

trainers::LoaderOptions training(const trainers::Datasets& data, const ClassificationOptions& options) {
  auto loader = trainers::in_order(data, options.batch_size, options.workers);
  loader.shuffle = true;
  loader.drop_last =
      data.train->size() >= options.batch_size;  // batch norm must not see a batch of one image
  loader.seed = options.seed;
  if (options.augment) loader.augmentation = data.augmentation;
  return loader;
}

class LabelledPass : public Validation {
 public:
  LabelledPass(const trainers::Datasets& set, std::int64_t batch_size, std::int64_t workers)
      : loader_(set.val, trainers::in_order(set, batch_size, workers)) {
    loader_.start_epoch(0);
  }
  std::int64_t images() const override { return loader_.dataset().size(); }
  std::optional<torch::Tensor> next() override {
    auto batch = loader_.next();
    if (!batch) return std::nullopt;
    labels_ = batch->labels;
    return batch->images;
  }
  void add(std::size_t which, const Outputs& outputs) override {
    if (sums_.size() <= which) sums_.resize(which + 1);
    sums_[which].add(outputs.front(), labels_);
  }
  Evaluation result(std::size_t which) const override { return sums_.at(which).mean(); }
  std::string metric() const override { return Classification::kMetric; }
  Equal compare(const Outputs& a, const Outputs& b) const override {
    const auto equal = a.front().cpu().argmax(1).eq(b.front().cpu().argmax(1));
    return {equal.sum().item<double>(), static_cast<double>(equal.numel())};
  }

 private:
  trainers::Loader loader_;
  torch::Tensor labels_;
  std::vector<EvaluationSum> sums_;
};

}  // namespace

std::unique_ptr<CalibrationImages> calibration_images(const trainers::Datasets& set, std::int64_t batch_size,
                                                      std::int64_t workers) {
  auto loading = trainers::in_order(set, batch_size, workers);
  loading.shuffle = true;
  return std::make_unique<EndlessImages<trainers::Loader>>(set.train, loading);
}

void EvaluationSum::add(const torch::Tensor& logits, const torch::Tensor& labels) {
  const auto scores = logits.to(torch::kCPU, torch::kFloat);
  const auto wide = std::min<int64_t>(5, scores.size(1));
  const auto hits = std::get<1>(scores.topk(wide, 1)).eq(labels.unsqueeze(1));
  const auto sum = torch::nn::functional::CrossEntropyFuncOptions().reduction(torch::kSum);
  images_ += scores.size(0);
  loss_ += torch::nn::functional::cross_entropy(scores, labels, sum).item<double>();
  top1_ += hits.select(1, 0).sum().item<double>();
  top5_ += hits.any(1).sum().item<double>();
}

Evaluation EvaluationSum::mean() const {
  const auto images = static_cast<double>(std::max<int64_t>(1, images_));
  return {images_, {{"loss", loss_ / images}, {"top1", top1_ / images}, {"top5", top5_ / images}}};
}

std::unique_ptr<Validation> classification_validation(const trainers::Datasets& set, std::int64_t batch_size,
                                                      std::int64_t workers) {
  return std::make_unique<LabelledPass>(set, batch_size, workers);
}

Classification::Classification(std::shared_ptr<Model> model, trainers::Datasets data,
                               const ClassificationOptions& options)
    : model_(std::move(model)),
      data_(std::move(data)),
      options_((check(options), options)),
      loader_(data_.train, training(data_, options_)) {}

void Classification::start_epoch(std::int64_t epoch, std::int64_t first_batch) {
  loader_.start_epoch(epoch, first_batch);
}

std::optional<torch::Tensor> Classification::next_batch() {
  auto batch = loader_.next();
  if (!batch) return std::nullopt;
  labels_ = batch->labels;
  return batch->images;
}

torch::Tensor Classification::loss(const Outputs& outputs) {
  const auto logits = outputs.front().to(torch::kFloat);
  labels_ = labels_.to(logits.device(), /*non_blocking=*/true);
  top1_ = logits.detach().argmax(1).eq(labels_).to(torch::kDouble).mean().item<double>();
  return torch::nn::functional::cross_entropy(
      logits, labels_,
      torch::nn::functional::CrossEntropyFuncOptions().label_smoothing(options_.label_smoothing));
}

std::unique_ptr<CalibrationImages> Classification::calibration_images(std::int64_t batch_size,
                                                                      std::int64_t workers) const {
  return sparsify::calibration_images(data_, batch_size, workers);
}

std::unique_ptr<Validation> Classification::validation() const {
  return classification_validation(data_, options_.batch_size, options_.workers);
}

}  // namespace sparsify
