// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "sparsify/trainers/dataset.hpp"
#include "sparsify/trainers/model.hpp"

namespace sparsify {

/// Of a classifier on some images.
struct LossAndTop1 {
  std::int64_t images = 0;
  double loss = 0, top1 = 0;
};

/// What pruning or quantizing one layer alone does to a trained network.
struct LayerSensitivity {
  std::string name;  ///< of its weight
  std::int64_t elements = 0;
  std::int64_t multiply_adds = 0;   ///< for one image
  std::vector<LossAndTop1> pruned;  ///< at each level, pruned by magnitude at once, nothing trained
  LossAndTop1 quantized;            ///< weight and operands in INT8
  std::string not_quantized;        ///< why there is no such measurement; empty when there is
};

struct Sensitivity {
  LossAndTop1 dense;
  std::vector<double> levels;  ///< sparsities tried, rising, each above 0 and up to 1
  std::vector<LayerSensitivity> layers;
};

struct SensitivityOptions {
  std::vector<double> levels = {0.3, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98};
  std::int64_t images = 1024;  ///< of the training part, drawn at random
  std::int64_t batch_size = 128;
  std::int64_t workers = 2;
  std::uint64_t seed = 0;
  std::string scheme = "cpu";  ///< of the INT8 measurements; empty: none
};

/// Measures every prunable layer of a trained model by itself; the model is left as it was. `progress` hears
/// how many of how many measurements are done, and may stop them by returning false: the layers measured till
/// then are returned.
Sensitivity measure_sensitivity(Model& model, const trainers::Datasets& data,
                                const SensitivityOptions& options,
                                const std::function<bool(std::int64_t done, std::int64_t all)>& progress);

}  // namespace sparsify
