// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sparsify/quantization/observers.hpp"
#include "sparsify/value.hpp"
#include "sparsify/window.hpp"

namespace sparsify {

/// For x86 without VNNI: as cpu, with 7-bit weights.
inline constexpr const char* kLegacyScheme = "cpu-legacy";

/// What `scheme` may be, and the scheme that each name stands for.
inline const Choices<const char*>& quantization_schemes() {
  static const Choices<const char*> choices = {{"cpu", "cpu"},        {"default", "cpu"},
                                               {"deepsparse", "cpu"}, {kLegacyScheme, "cpu"},
                                               {"gpu", "gpu"},        {"tensorrt", "gpu"}};
  return choices;
}

/// Options of QuantizationModifier; the first names are SparseML's.
struct QuantizationOptions {
  double start_epoch = 0;
  std::string scheme = "cpu";
  std::vector<std::string> ignore{};
  double disable_quantization_observer_epoch = -1;
  double freeze_bn_stats_epoch = -1;
  double averaging_constant = 0.05;
  std::vector<std::string> submodules{};
  Value weight_bits{};
  std::string observer = "moving_average_minmax";
  std::int64_t calibration_steps = 0;
  double scale_learning_rate = -1;
  Value weight_strategy = "channel";
  Value symmetric_activations{};
  template <class Visitor>
  void fields(Visitor& visit) {
    visit("start_epoch", start_epoch, "epoch at which rounding begins; -1: from the beginning",
          epoch_or_minus_one());
    visit("scheme", scheme,
          "target; default and deepsparse are cpu, tensorrt is gpu; cpu-legacy is for x86 without VNNI, with "
          "7-bit weights, whose products do not saturate there",
          one_of(quantization_schemes()));
    visit("ignore", ignore,
          "layers left in floating point: selectors as for pruning (module names, __FIRST__, Conv2d)");
    visit("submodules", submodules, "when given, layers outside these modules stay in floating point");
    visit("disable_quantization_observer_epoch", disable_quantization_observer_epoch,
          "epoch at which activation ranges stop moving; -1: never", epoch_or_minus_one());
    visit("freeze_bn_stats_epoch", freeze_bn_stats_epoch,
          "epoch at which batch-norm statistics stop moving; -1: never", epoch_or_minus_one());
    visit("averaging_constant", averaging_constant,
          "weight of each new batch in the moving average of a range", above(0).up_to(1));
    visit("weight_bits", weight_bits,
          "bits of weights, or a mapping from bits to selectors, the first match wins; default: 8, or 7 for "
          "cpu-legacy. Fewer than 8 are stored in 8",
          at_least(2).up_to(8));
    visit(
        "observer", observer,
        "how activation ranges are found; percentile is 99.99 %; the scales of lsq are learned by gradient; "
        "all but moving_average_minmax and lsq are for calibration",
        one_of(observers()));
    visit("calibration_steps", calibration_steps,
          "training steps before rounding begins in which ranges are observed in floating point; a "
          "start_epoch too early for them is put off",
          at_least(0));
    visit("scale_learning_rate", scale_learning_rate,
          "for lsq: learning rate of the scales, which are no parameters of the optimizer; -1: its current "
          "one",
          at_least(0).or_minus_one());
    visit("weight_strategy", weight_strategy,
          "channel, a scale for each output channel; tensor, one for all (of the weight with batch norm "
          "folded in); or {tensor: SELECTORS}");
    visit("symmetric_activations", symmetric_activations,
          "true: activations that may be negative get their zero point in the middle; default: false for "
          "cpu, true for gpu, which can do no other");
  }
};

}  // namespace sparsify
