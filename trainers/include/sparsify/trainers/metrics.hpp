// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace sparsify {

/// Accuracy of a classifier over a data set.
struct Evaluation {
  int64_t images = 0;
  double loss = 0;  ///< mean cross entropy
  double top1 = 0;  ///< fraction, 0 to 1
  double top5 = 0;
};

/// One row of metrics.csv.
struct EpochMetrics {
  int64_t epoch = 0;
  double train_loss = 0;
  double train_top1 = 0;
  Evaluation val;
  double lr = 0;
  double sparsity = 0;  ///< over all prunable weights, 0 to 1
  bool quantized = false;
  double images_per_second = 0;  ///< of training
  double seconds = 0;            ///< of the epoch, validation included
};

/// metrics.csv of a run directory: rewritten whole and atomically, so that it never ends in half a row.
class MetricsFile {
 public:
  /// Keeps the rows of an existing file up to (not including) `first_epoch`: what a resumed run repeats is
  /// dropped.
  MetricsFile(std::filesystem::path path, int64_t first_epoch);
  void append(const EpochMetrics& row);

 private:
  void write() const;
  std::filesystem::path path_;
  std::vector<std::string> lines_;
};

}  // namespace sparsify
