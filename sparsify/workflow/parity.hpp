// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "sparsify/onnx/parity.hpp"
#include "sparsify/trainers/dataset.hpp"
#include "sparsify/trainers/metrics.hpp"

namespace sparsify {

/// An exported model beside the trained one, over a whole validation set.
struct Parity {
  Evaluation trained;         ///< of the trained model
  onnx::ParityReport engine;  ///< how far the exported file is from it, and its accuracy
};

/// Called after every batch: what runs, on how many images it has run, and on how many it will. What it
/// throws ends the work.
using ImageProgress = std::function<void(const std::string& what, std::int64_t done, std::int64_t of)>;

/// `forward` that says how far it is; `of`: images in all.
onnx::Forward reporting(onnx::Forward forward, std::string what, std::int64_t of, ImageProgress progress);

/// `trained` and `engine`: images [N, 3, H, W] float32 to logits.
Parity compare(const trainers::Datasets& data, std::int64_t batch_size, std::int64_t workers,
               const onnx::Forward& trained, const onnx::Forward& engine, const ImageProgress& progress = {});

/// What must not be: more than 0.2 point of top-1 off, or less than 99 % equal decisions.
std::vector<std::string> complaints(const Parity& parity, const std::string& engine);

/// Throws Error with all of them; `remark` follows. Nothing without complaints.
void require_agreement(const std::vector<std::string>& complaints, const std::string& remark = "");

}  // namespace sparsify
