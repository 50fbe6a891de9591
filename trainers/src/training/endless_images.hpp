// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <utility>

#include "sparsify/trainers/calibrate.hpp"

namespace sparsify {

/// Batches of a loader's images, one epoch after the other.
template <class Loader>
class EndlessImages : public CalibrationImages {
 public:
  /// `arguments`: of the loader.
  template <class... Arguments>
  explicit EndlessImages(Arguments&&... arguments) : loader_(std::forward<Arguments>(arguments)...) {
    rewind();
  }
  void rewind() override { loader_.start_epoch(epoch_ = 0); }
  torch::Tensor next() override {
    auto batch = loader_.next();
    if (!batch) loader_.start_epoch(++epoch_), batch = loader_.next();
    return batch->images;
  }

 private:
  Loader loader_;
  std::int64_t epoch_ = 0;
};

}  // namespace sparsify
