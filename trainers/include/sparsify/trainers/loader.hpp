// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include <torch/types.h>

#include <sparsify/trainers/dataset.hpp>

namespace sparsify::trainers {

/// One step's input.
struct Batch {
  torch::Tensor images;  ///< [N, 3, H, W] float32, channels_last, normalised
  torch::Tensor labels;  ///< [N] int64
};

struct LoaderOptions {
  int64_t batch_size = 128;
  bool shuffle = false;
  bool drop_last = false;  ///< leave out a last batch that is not full
  int64_t workers = 2;     ///< threads that make batches; 0: next() makes them itself
  uint64_t seed = 0;
  int64_t image_size = 32;
  Augmentation augmentation;
  Normalization normalization;
  int64_t prefetch = 4;  ///< batches made ahead, those in the making included
  int64_t shard = 0;     ///< this process's share of every global batch of batch_size * shards samples
  int64_t shards = 1;
};

/// Every sample once, in order, as the set gives it: what evaluation and calibration read.
LoaderOptions in_order(const Datasets& set, int64_t batch_size, int64_t workers = 2);

/// Feeds a data set in batches. Order and augmentation depend only on (seed, epoch, index of the sample): the
/// same whatever the number of workers. Not to be called from several threads.
class Loader {
 public:
  /// Throws Error on options outside their range or an empty data set.
  Loader(std::shared_ptr<const Dataset> dataset, const LoaderOptions& options);
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  const Dataset& dataset() const;
  const LoaderOptions& options() const;
  int64_t steps_per_epoch() const;

  /// Begins an epoch, dropping what is left of the one before. With `first_batch` it begins inside: the
  /// batches that follow are those an undisturbed epoch would have given. Throws Error unless 0 <=
  /// first_batch <= steps_per_epoch().
  void start_epoch(int64_t epoch, int64_t first_batch = 0);

  /// The next batch, or nothing at the end of the epoch or before the first start_epoch(). Throws DataError
  /// for a sample that cannot be read (the first in the batch's order); the batch after that one follows.
  std::optional<Batch> next();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sparsify::trainers
