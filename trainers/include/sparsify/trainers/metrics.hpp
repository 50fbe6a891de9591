// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace sparsify {

/// A number with the name it has in metrics.csv and summary.json.
struct Figure {
  std::string name;
  double value = 0;
};
using Figures = std::vector<Figure>;

/// The value of that name; throws std::out_of_range when there is none.
double value_of(const Figures& figures, const std::string& name);

/// How well a network does over a data set: of a classifier "loss" (mean cross entropy), "top1" and "top5"
/// (fractions from 0 to 1), of a detector "map50", "map", "precision", "recall", "f1".
struct Evaluation {
  int64_t images = 0;
  Figures figures{};
  double operator[](const std::string& name) const { return value_of(figures, name); }
};

/// One row of metrics.csv.
struct EpochMetrics {
  int64_t epoch = 0;
  Figures train;  ///< means over what was trained on, "loss" first
  Evaluation val;
  double lr = 0;
  double sparsity = 0;  ///< over all prunable weights, 0 to 1
  bool quantized = false;
  double images_per_second = 0;  ///< of training
  double seconds = 0;            ///< of the epoch, validation included
};

/// metrics.csv of a run directory, with columns train_<figure> and val_<figure>: rewritten whole and
/// atomically, so that it never ends in half a row.
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
