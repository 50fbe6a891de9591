// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sparsify/trainers/network.hpp"

namespace sparsify {

class Session;

/// Quantization without training.
struct CalibrationOptions {
  std::int64_t batches = 0;  ///< of training images; 0: the recipe's calibration_steps, or 32
  std::int64_t batch_size = 128;
  std::int64_t workers = 2;
  bool equalize = false;         ///< first scale channels so that layers' weights suit one scale better
  bool bias_correction = false;  ///< at last take from biases what rounding adds to the mean of channels
};

/// Batches of images without augmentation, without end, the same ones after every `rewind`.
class CalibrationImages {
 public:
  virtual ~CalibrationImages() = default;
  virtual void rewind() = 0;
  virtual torch::Tensor next() = 0;  ///< [N, 3, H, W]
};

/// Finds the ranges of a session's quantizers; nothing is trained. The network is put in eval mode. Returns
/// what the user should know. Throws Error when the recipe does not quantize, or needs training to.
std::vector<std::string> calibrate(Session& session, Network& network, CalibrationImages& images,
                                   const CalibrationOptions& options);

}  // namespace sparsify
