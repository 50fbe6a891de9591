// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>

#include "sparsify/trainers/dataset.hpp"
#include "sparsify/trainers/loader.hpp"
#include "sparsify/trainers/model.hpp"
#include "sparsify/trainers/task.hpp"

namespace sparsify {

/// Accuracy and loss over batches.
class EvaluationSum {
 public:
  /// `logits`: [N, classes], any device and float type; `labels`: [N], on the CPU.
  void add(const torch::Tensor& logits, const torch::Tensor& labels);
  /// "loss", "top1", "top5".
  Evaluation mean() const;

 private:
  std::int64_t images_ = 0;
  double loss_ = 0, top1_ = 0, top5_ = 0;
};

/// Judges logits [N, classes] by "top1" over a set's validation part.
std::unique_ptr<Validation> classification_validation(const trainers::Datasets& set, std::int64_t batch_size,
                                                      std::int64_t workers);

/// Training images to calibrate on.
std::unique_ptr<CalibrationImages> calibration_images(const trainers::Datasets& set, std::int64_t batch_size,
                                                      std::int64_t workers);

struct ClassificationOptions {
  std::int64_t batch_size = 128;
  std::int64_t workers = 2;  ///< threads that prepare batches
  std::uint64_t seed = 0;
  bool augment = true;
  double label_smoothing = 0;
};

/// One label an image: cross entropy, measured by top-1.
class Classification : public Task {
 public:
  /// Throws Error for options outside their range.
  Classification(std::shared_ptr<Model> model, trainers::Datasets data, const ClassificationOptions& options);

  Network& network() override { return *model_; }
  std::int64_t batches() const override { return loader_.steps_per_epoch(); }
  void start_epoch(std::int64_t epoch, std::int64_t first_batch) override;
  std::optional<torch::Tensor> next_batch() override;
  torch::Tensor loss(const Outputs& outputs) override;
  Figures loss_figures() const override { return {{"top1", top1_}}; }
  std::unique_ptr<CalibrationImages> calibration_images(std::int64_t batch_size,
                                                        std::int64_t workers) const override;
  std::unique_ptr<Validation> validation() const override;
  static constexpr const char* kMetric = "top1";
  std::string metric() const override { return kMetric; }

  const trainers::Datasets& data() const { return data_; }

 private:
  std::shared_ptr<Model> model_;
  trainers::Datasets data_;
  ClassificationOptions options_;
  trainers::Loader loader_;
  torch::Tensor labels_;
  double top1_ = 0;
};

}  // namespace sparsify
