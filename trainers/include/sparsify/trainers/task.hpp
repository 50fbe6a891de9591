// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sparsify/modifiers/distillation.hpp"
#include "sparsify/trainers/calibrate.hpp"
#include "sparsify/trainers/metrics.hpp"
#include "sparsify/trainers/network.hpp"

namespace sparsify {

/// What anything that runs a network gives for images [N, 3, H, W].
using Forward = std::function<Outputs(const torch::Tensor& images)>;

/// Decisions of two networks on the same images.
struct Equal {
  double equal = 0, of = 0;
};

/// One pass over a validation set, in order, that judges any number of networks side by side.
class Validation {
 public:
  virtual ~Validation() = default;
  virtual std::int64_t images() const = 0;  ///< in all
  /// The next batch, [N, 3, H, W] float32 on the CPU; nothing at the end.
  virtual std::optional<torch::Tensor> next() = 0;
  /// What network `which` gives for that batch.
  virtual void add(std::size_t which, const Outputs& outputs) = 0;
  /// Over the batches so far; the same names in the same order always.
  virtual Evaluation result(std::size_t which) const = 0;
  /// The figure that says which network is better, the higher the better.
  virtual std::string metric() const = 0;
  /// Of the decisions that two networks made for the last batch, how many are equal.
  virtual Equal compare(const Outputs& a, const Outputs& b) const = 0;
};

/// How well `forward` does over a validation set.
Evaluation evaluate(Validation& validation, const Forward& forward);

/// What a network learns and how well it does: a network, its data, its loss and its measure. All that the
/// training loop knows of either.
class Task {
 public:
  Task() = default;
  virtual ~Task() = default;
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;

  virtual Network& network() = 0;

  /// Batches in an epoch, and how many of them make one step of the optimizer.
  virtual std::int64_t batches() const = 0;
  virtual std::int64_t batches_per_step() const { return 1; }
  virtual void start_epoch(std::int64_t epoch, std::int64_t first_batch) = 0;
  /// Images of the next batch to learn from, [N, 3, H, W] float32 on the CPU; nothing at the end of the
  /// epoch.
  virtual std::optional<torch::Tensor> next_batch() = 0;
  /// Mean loss of the network's outputs for that batch.
  virtual torch::Tensor loss(const Outputs& outputs) = 0;
  /// What else is known of that loss: its parts, the share of right decisions. In one order always.
  virtual Figures loss_figures() const = 0;
  /// How far outputs for that batch are from a teacher's, on the scale of the loss; empty: as
  /// DistillationModifier has it by itself. Valid as long as the task.
  virtual Distillation::Divergence divergence() { return {}; }
  /// What the mean loss is multiplied by for the gradients.
  virtual double loss_scale() const { return 1; }

  /// Training images as validation sees them, in an order of their own.
  virtual std::unique_ptr<CalibrationImages> calibration_images(std::int64_t batch_size,
                                                                std::int64_t workers) const = 0;

  virtual std::unique_ptr<Validation> validation() const = 0;
  /// As the validation's.
  virtual std::string metric() const = 0;
};

}  // namespace sparsify
