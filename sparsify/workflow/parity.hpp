// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "sparsify/trainers/task.hpp"

namespace sparsify {

/// An exported model beside the trained one, over a whole validation set.
struct Parity {
  std::string metric;          ///< the figure that both are judged by
  Evaluation trained, engine;  ///< of the trained model and of the exported file
  double agreement = 0;        ///< share of equal decisions, 0 to 1
  double max_difference = 0;   ///< largest absolute difference of an output element
  double mean_difference = 0;  ///< mean absolute difference

  double trained_metric() const { return trained[metric]; }
  double engine_metric() const { return engine[metric]; }
};

/// Called after every batch: what runs, on how many images it has run, and on how many it will. What it
/// throws ends the work.
using ImageProgress = std::function<void(const std::string& what, std::int64_t done, std::int64_t of)>;

/// `forward` that says how far it is; `of`: images in all.
Forward reporting(Forward forward, std::string what, std::int64_t of, ImageProgress progress);

/// Both run on the same batches. Throws Error when their outputs' shapes differ, or there is no image.
Parity compare(Validation& validation, const Forward& trained, const Forward& engine,
               const ImageProgress& progress = {});

/// What must not be: more than 0.2 point of the metric off (0.5 of a detector's), or less than 99 % equal
/// decisions (80 % equal detections).
std::vector<std::string> complaints(const Parity& parity, const std::string& engine);

/// Throws Error with all of them; `remark` follows. Nothing without complaints.
void require_agreement(const std::vector<std::string>& complaints, const std::string& remark = "");

}  // namespace sparsify
