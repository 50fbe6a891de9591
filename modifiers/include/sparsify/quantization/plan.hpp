// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sparsify/quantization/clip.hpp"

namespace sparsify {

/// What one quantizer of activations does: integers in [lowest, highest], real = scale * (integer -
/// zero_point).
struct ActivationRange {
  std::int64_t lowest = 0;
  std::int64_t highest = 255;
  bool symmetric = false;  ///< zero point fixed in the middle (signed: at 0) whatever was observed

  /// The zero point of a symmetric range.
  std::int64_t middle() const { return (lowest + highest + 1) / 2; }
};

/// One quantizer per tensor: the tensor is rounded once, where it is produced, and every reader sees the
/// rounded one.
struct ActivationQuantizer {
  std::string site;  ///< of the producing node, as in GraphNode::site; "input#0" for a graph input
  ActivationRange range;
  bool non_negative = false;  ///< follows a ReLU: the range starts at 0, so integer engines drop the ReLU
  std::vector<std::string>
      shared_sites{};  ///< other tensors rounded to the same grid: the inputs of a concatenation
  std::vector<std::string>
      carried_sites{};  ///< nodes whose outputs lie on the grid without rounding: max-pool, slice,
                        ///< flatten, concatenation ...; engines want equal quantizers there
  std::vector<std::string> rectified_sums{};  ///< additions that it rounds behind a ReLU
  bool returned = false;                      ///< the pass returns a tensor on its grid
};

/// One convolution or linear layer whose weight is rounded: symmetric, with a scale for each output channel,
/// or with one for all of them once batch-norm is folded in.
struct WeightQuantizer {
  std::string site;  ///< the parameter's name
  int input = -1;    ///< index of the activation quantizer of its input
  int output =
      -1;  ///< index of that of its (normalised, activated) output; -1: float output, or summed first
  std::string
      batch_norm{};    ///< name prefix of the batch-norm folded into it, e.g. "layer1.0.bn1"; empty: none
  double eps = 0;      ///< of that batch-norm
  std::string bias{};  ///< parameter name of its own bias; empty: none
  int bits = 8;        ///< of its weight, 2 to 8
  std::optional<Clip>
      clip{};  ///< of a ReLU that its (normalised) output goes through and nowhere else, to be rounded then
  bool per_tensor =
      false;  ///< one scale in the engine: those of the channels differ by the batch-norm's factor

  /// Integers lie in [-highest, highest].
  std::int64_t highest() const { return (1 << (bits - 1)) - 1; }
};

/// A layer left in floating point, and the rule that says why (float_rules.hpp).
struct UnquantizedLayer {
  std::string site;
  std::string rule;    ///< its stable name
  std::string reason;  ///< the same as a sentence, with particulars

  /// "ignored by the recipe [ignored]".
  std::string why() const { return reason + " [" + rule + "]"; }
};

/// Where fake-quantization happens in one model under one scheme: computed once from the recorded graph.
struct QuantizationPlan {
  std::string scheme;  ///< "cpu" or "gpu"
  std::vector<ActivationQuantizer> activations;
  std::vector<WeightQuantizer> weights;
  std::vector<UnquantizedLayer> unquantized;
};

/// The parameters of a trained quantizer, for export. Activations have one element, weights one per output
/// channel.
struct QuantizerParameters {
  at::Tensor scale;       ///< float32
  at::Tensor zero_point;  ///< int32
};

/// A plan together with what training found: all an exporter needs beside the graph.
struct TrainedQuantization {
  QuantizationPlan plan;
  std::vector<QuantizerParameters> activations;  ///< as plan.activations
  std::vector<QuantizerParameters>
      weights;  ///< as plan.weights; the scale of the weight itself, before any folding
};

}  // namespace sparsify
