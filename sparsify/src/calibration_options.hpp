// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "command_line.hpp"
#include "sparsify/trainers/calibrate.hpp"
#include "workflow/input_error.hpp"

namespace sparsify {

/// Declares the options of quantization without training; `needed` is the option without which they mean
/// nothing.
inline void declare_calibration(CommandLine& line, const std::string& group, const std::string& needed) {
  const auto with = "with --" + needed + ": ";
  line.option(
      group, "calibration-batches",
      with + "batches of training images to calibrate on (default: the recipe's calibration_steps, or 32)",
      "BATCHES");
  line.flag(group, "equalize", with + "scale channels so that layers' weights suit one scale better");
  line.flag(group, "bias-correction", with + "take from biases what rounding adds to the mean of channels");
}

/// Throws InputError for options given without `needed`.
inline CalibrationOptions read_calibration(const CommandLine& line, const std::string& needed) {
  for (const std::string option : {"calibration-batches", "equalize", "bias-correction"})
    if (line.given(option) && !line.given(needed)) throw InputError("--" + option + ": is for --" + needed);
  CalibrationOptions options;
  options.batches =
      line.given("calibration-batches") ? line.integer("calibration-batches", 0, 1, 100'000) : 0;
  options.equalize = line.given("equalize");
  options.bias_correction = line.given("bias-correction");
  return options;
}

}  // namespace sparsify
