// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "sparsify/detection/dataset.hpp"
#include "sparsify/detection/hyperparameters.hpp"
#include "sparsify/detection/letterbox.hpp"

namespace sparsify::detection {

/// One step's input.
struct DetectionBatch {
  torch::Tensor images;  ///< [N, 3, H, W] float32 RGB from 0 to 1, channels_last
  torch::Tensor
      targets;  ///< [objects, 6] float32: image, class, centre x, y, width, height; parts of W and H
  std::vector<std::int64_t> indices;  ///< of the images in the data set
  std::vector<Placement> placements;  ///< one an image; what they say is meaningless with augmentation
};

struct DetectionLoaderOptions {
  std::int64_t batch_size = 16;
  std::int64_t image_size = 640;  ///< side of the input in pixels, a multiple of `stride`
  std::int64_t stride = 32;
  bool shuffle = false, drop_last = false;
  bool augment = false;      ///< mosaic, mixup, perspective, colours, flips as the hyper-parameters say
  bool rectangular = false;  ///< batches of images of like shape, no larger than they need; without the above
  Hyperparameters hyp{};
  double multi_scale = 0;    ///< each batch's side is a multiple of `stride` within image_size * (1 -+ this)
  std::int64_t workers = 2;  ///< threads that make batches; 0: next() makes them itself
  std::uint64_t seed = 0;
  std::int64_t prefetch = 4;  ///< batches made ahead
};

/// Every image once, in order, letterboxed into a square: what evaluation and calibration read.
DetectionLoaderOptions in_order(std::int64_t image_size, std::int64_t batch_size, std::int64_t workers);

/// Feeds a data set in batches. Order and augmentation depend only on (seed, epoch, index), whatever the
/// number of workers. Not to be called from several threads.
class DetectionLoader {
 public:
  /// Throws Error on options outside their range or an empty data set.
  DetectionLoader(std::shared_ptr<const DetectionDataset> dataset, const DetectionLoaderOptions& options);
  ~DetectionLoader();
  DetectionLoader(const DetectionLoader&) = delete;
  DetectionLoader& operator=(const DetectionLoader&) = delete;

  std::int64_t steps_per_epoch() const;
  /// Begins an epoch, at `first_batch` of it: the batches that follow are those an undisturbed epoch gives.
  void start_epoch(std::int64_t epoch, std::int64_t first_batch = 0);
  /// The next batch, or nothing at the end. Throws DataError for an image that cannot be read.
  std::optional<DetectionBatch> next();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sparsify::detection
